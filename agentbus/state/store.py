"""Where the states of components are kept: in any store, one record a session."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Self

from pydantic import JsonValue, StringConstraints, TypeAdapter, ValidationError

from agentbus.contracts.base import MAX_ID_LENGTH, Announced, check_size
from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.errors import SchemaViolation, StateError, StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.records import MAX_COMPONENTS_BYTES, Record, RecordKind
from agentbus.state.module import State
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store

States = Mapping[str, State]
"""The states of a session's components by their names."""

_GROUP: Final = "components"

# No separators of paths, no control characters: ids become file names and keys.
_ID: Final = TypeAdapter[str](
    Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
)
_DOTS: Final = re.compile(r"^\.+$")


class StateInfo(Announced):
    """What is known of a session's states without loading them."""

    session_id: str
    size: int
    """Bytes of the states as compact JSON in UTF-8."""
    components: tuple[str, ...]
    """The names of the components, in the order in which they were added."""
    last_modified: datetime

    @property
    def component_count(self) -> int:
        """How many components were saved."""
        return len(self.components)


def checked_state_id(session_id: str) -> str:
    """Return an id under which states can be kept.

    Raises SchemaViolation for what is empty, longer than 255 characters, has a separator of paths (`/`, `\\`) or a
    control character in it, or is made of dots alone.
    """
    try:
        checked = _ID.validate_python(session_id, strict=True)
        checked.encode()
    except (ValidationError, UnicodeEncodeError):
        checked = ""
    if not checked or _DOTS.match(checked):
        raise SchemaViolation(f"{session_id!r:.300} is no id: 1 to {MAX_ID_LENGTH} characters, none of them / or \\")
    return checked


class StateStore:
    """The states of components, by session. Saving replaces all of a session's: the last one to save counts.

    Every call may raise StoreUnavailable and StoreRejected, as `agentbus.storage.port.Store`. As a context manager it
    starts the store and closes it; over a store that somebody else opened it is used without.
    """

    def __init__(self, store: Store, *, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    async def save(self, session_id: str, states: States) -> None:
        """Keep the states of a session's components in place of those that were kept.

        Raises SchemaViolation for what is no id, StateError for more than 4 MiB of JSON or what no store can keep.
        """
        key = checked_state_id(session_id)
        data: dict[str, JsonValue] = {"order": list(states), "states": dict(states)}
        try:
            check_size(data, MAX_COMPONENTS_BYTES)
        except ValueError as error:
            raise StateError(f"the state of {key!r} can't be kept: {error}") from None
        kept_at = self._clock.now()
        await self._store.records.put(
            Record(kind=RecordKind.COMPONENTS, key=key, group=_GROUP, created_at=kept_at, data=data)
        )

    async def load(self, session_id: str) -> dict[str, State] | None:
        """Return the states of a session's components; None if there are none. Raises StoreDamaged, SchemaViolation."""
        found = await self._record(session_id)
        return None if found is None else _states_in(found)

    async def exists(self, session_id: str) -> bool:
        """Whether states of a session are kept. Raises StoreDamaged, SchemaViolation."""
        return await self._record(session_id) is not None

    async def delete(self, session_id: str) -> bool:
        """Delete a session's states; return whether there were any. Raises SchemaViolation."""
        return await self._store.records.delete(RecordKind.COMPONENTS, checked_state_id(session_id))

    async def list_sessions(self, *, limit: int = 50, cursor: str | None = None) -> Page[str]:
        """Return a page of the ids under which states are kept, the last saved first. Raises ValueError for a limit
        outside 1..1000, or a cursor that was not handed out."""
        page = await self._store.records.page(RecordKind.COMPONENTS, _GROUP, limit=limit, cursor=cursor)
        return Page[str](items=tuple(record.key for record in page.items), cursor=page.cursor)

    async def get_session_info(self, session_id: str) -> StateInfo | None:
        """Return what is known of a session's states; None if there are none. Raises StoreDamaged, SchemaViolation."""
        found = await self._record(session_id)
        if found is None:
            return None
        states = _states_in(found)
        return StateInfo(
            session_id=found.key,
            size=len(json.dumps(states, ensure_ascii=False, separators=(",", ":")).encode()),
            components=tuple(states),
            last_modified=found.created_at,
        )

    async def _record(self, session_id: str) -> Record | None:
        return await self._store.records.get(RecordKind.COMPONENTS, checked_state_id(session_id))


def open_states(url: str, *, connect_timeout: float = 30.0) -> StateStore:
    """Return the states in the store at `url`, to be entered; for the URLs see `agentbus.storage.factory.open_store`.

    They are encrypted if the environment has keys for it (`AGENTBUS_ENCRYPTION_KEYS`).
    Raises ConfigurationError for a URL that no store here understands, or for such a setting that is wrong.
    """
    from agentbus.settings import load_settings  # noqa: PLC0415 - pydantic-settings is for who opens a store by its URL
    from agentbus.storage.encryption import encrypting  # noqa: PLC0415 - as above

    settings = load_settings().encryption
    opened = partial(open_store, connect_timeout=connect_timeout)
    return StateStore(encrypting(opened(url), settings.encryption_keys, settings.encryption_key_store, opened))


def _states_in(record: Record) -> dict[str, State]:
    """Return the states by name. Raises StoreDamaged for what somebody else wrote."""
    states, order = record.data.get("states"), record.data.get("order")
    if not isinstance(states, dict) or not isinstance(order, list) or set(map(str, order)) != states.keys():
        raise StoreDamaged(f"what is kept as the state of {record.key!r} is no state")
    found: dict[str, State] = {}
    for name in map(str, order):
        state = states[name]
        if not isinstance(state, dict):
            raise StoreDamaged(f"what is kept as the state of {name!r} of {record.key!r} is no state")
        found[name] = state
    return found
