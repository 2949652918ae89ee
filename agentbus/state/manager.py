"""Saving and loading the components of one session together."""

from typing import Self

from agentbus.contracts.errors import ConfigurationError, SchemaViolation, StateNotFound, StoreError
from agentbus.contracts.telemetry import Action
from agentbus.state.module import Loading, LoadReport, StateModule, prepare
from agentbus.state.store import StateStore, checked_state_id
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import raise_if_cancelled

_log = Logger(__name__)


class StateManager:
    """The components of one session: saved together, and loaded together, all of them or none.

    Every call that asks the store may raise StoreUnavailable, StoreRejected and StoreDamaged; only `save` does not.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = checked_state_id(session_id)
        self._store: StateStore | None = None
        self._components: dict[str, StateModule] = {}

    @classmethod
    def for_session_id(cls, session_id: str) -> Self:
        """Return a manager of a session. Raises SchemaViolation for an id that is empty, longer than 255 characters,
        or has a separator of paths in it."""
        return cls(session_id)

    def with_store(self, store: StateStore) -> Self:
        """Keep the states there; return the manager."""
        self._store = store
        return self

    def add_component(self, component: StateModule, name: str | None = None) -> Self:
        """Save and load a component too, under its `component_name` or `name`; return the manager.

        A second one of a name gets a number: `memory`, `memory_2`. Raises SchemaViolation for an empty name.
        """
        wanted = component.component_name if name is None else name
        if not wanted or "\x00" in wanted:
            raise SchemaViolation(f"{wanted!r} is no name of a component")
        self._components[self._free(wanted)] = component
        return self

    @property
    def component_names(self) -> tuple[str, ...]:
        """The names under which components are saved, in the order in which they were added."""
        return tuple(self._components)

    async def save(self) -> bool:
        """Save the components; return whether they were: a store that fails is logged, and the agent goes on.

        Raises StateError for a component that can't be saved.
        """
        try:
            await self.save_or_raise()
        except StoreError as error:
            raise_if_cancelled()
            _log.error(Action.STATE_NOT_SAVED, session=self.session_id, error=str(error))
            return False
        return True

    async def save_or_raise(self) -> None:
        """Save the components, in place of what was saved. Raises StateError, StoreError."""
        store = self._opened()
        await store.save(self.session_id, {name: one.state_dict() for name, one in self._components.items()})

    async def save_if_exists(self) -> bool:
        """Save the components if something was saved before; return whether they were. Raises StateError, StoreError.

        Whoever deletes it at the same moment may find it saved again.
        """
        if not await self.exists():
            return False
        await self.save_or_raise()
        return True

    async def load_if_exists(self, strict: bool = True) -> LoadReport | None:
        """Load the components as `load_or_raise`; return None, and change nothing, if nothing was saved."""
        states = await self._opened().load(self.session_id)
        if states is None:
            return None
        missing = [name for name in self._components if name not in states]
        unexpected = [name for name in states if name not in self._components]
        loadings: list[Loading] = []
        for name, component in self._components.items():
            if name in states:
                loading = prepare(component, states[name], f"{name}.")
                missing += loading.report.missing
                unexpected += loading.report.unexpected
                loadings.append(loading)
        report = LoadReport(tuple(missing), tuple(unexpected))
        if strict:
            report.raise_if_incomplete()
        Loading.apply(*loadings)
        return report

    async def load_or_raise(self, strict: bool = True) -> LoadReport:
        """Load the components; return what was different. All or nothing: whatever it raises, none is changed.

        `strict`: raises StateMismatch if a component or anything in one is missing or unexpected; otherwise what is
        missing keeps its value. Raises StateNotFound if nothing was saved, StateError for what a component does not
        take.
        """
        report = await self.load_if_exists(strict)
        if report is None:
            raise StateNotFound(f"no state is kept for {self.session_id!r}")
        return report

    async def exists(self) -> bool:
        """Whether something was saved."""
        return await self._opened().exists(self.session_id)

    async def delete_if_exists(self) -> bool:
        """Delete what was saved; return whether there was something. The components stay as they are."""
        return await self._opened().delete(self.session_id)

    async def delete_or_raise(self) -> None:
        """Delete what was saved. Raises StateNotFound if there was nothing."""
        if not await self.delete_if_exists():
            raise StateNotFound(f"no state is kept for {self.session_id!r}")

    def _opened(self) -> StateStore:
        if self._store is None:
            raise ConfigurationError("the manager has no store: with_store(open_states(...)) first")
        return self._store

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self._components:
            number += 1
            free = f"{name}_{number}"
        return free
