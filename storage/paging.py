"""Pages and cursors: what every store does alike when it lists things."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeVar

from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import Page, SessionSummary
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.port import MAX_PAGE

CursorKind = Literal["sessions", "parked", "records", "history", "audit", "heads", "parked ids", "kind", "tokens"]
Position = tuple[datetime, str]
"""Where a page ended: the moment and the id of its last item."""

_Item = TypeVar("_Item")
_Session = TypeVar("_Session", SessionState, SessionSummary)
_Kept = TypeVar("_Kept")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def check_limit(limit: int) -> int:
    """Return `limit`. Raises ValueError if it is outside 1..MAX_PAGE."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit is {limit}, it must be 1 to {MAX_PAGE}")
    return limit


def to_milliseconds(moment: datetime) -> int:
    """Return the milliseconds from 1970 to `moment`."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the moment so many milliseconds after 1970. Raises ValueError if there is no such date."""
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:
        raise ValueError(f"{milliseconds} ms after 1970 is not a date") from None


def listed_at(head: SessionState | SessionSummary) -> datetime:
    """Return the moment that sorts `head` in a list: its last activity, or 1970 if there was none."""
    return head.last_activity or _EPOCH


def encode_cursor(kind: CursorKind, *parts: int | str) -> str:
    """Return an opaque cursor of `parts`: base64url of JSON."""
    text = json.dumps([kind, *parts], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(kind: CursorKind, cursor: str, *types: type) -> list[Any]:
    """Return the parts of a cursor. Raises ValueError unless it is of this kind and its parts of these types."""
    try:
        found = json_in(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError:
        raise ValueError("not a cursor of this store") from None
    if not isinstance(found, list) or [type(part) for part in found] != [str, *types] or found[0] != kind:
        raise ValueError(f"not a cursor of a list of {kind}")
    return found[1:]


def position_of(kind: CursorKind, cursor: str | None) -> Position | None:
    """Return the position that a cursor of a list holds, or None for the beginning. Raises ValueError."""
    if cursor is None:
        return None
    milliseconds, item = decode_cursor(kind, cursor, int, str)
    return from_milliseconds(milliseconds), item


def name_after(kind: CursorKind, cursor: str | None) -> str:
    """Return the name that a page of all there is ended with, or one before all names. Raises ValueError."""
    if cursor is None:
        return ""
    [name] = decode_cursor(kind, cursor, str)
    return str(name)


def all_page(kind: CursorKind, found: Sequence[_Item], limit: int, name_of: Callable[[_Item], str]) -> Page[_Item]:
    """Make a page of all there is, in the order of names; one more found says that there is a next page."""
    return _page(found, limit, lambda item: encode_cursor(kind, name_of(item)))


def scanned(
    kind: CursorKind, kept: Sequence[_Kept], limit: int, name_of: Callable[[_Kept], str], read: Callable[[_Kept], _Item]
) -> Page[_Item]:
    """Make a page of all there is, of what is kept in the order of names; one more says that there is a next page.

    Raises StoreDamaged for one that can't be read, with the cursor behind it in the details.
    """
    items: list[_Item] = []
    for one in kept[:limit]:
        try:
            items.append(read(one))
        except StoreDamaged as damage:
            damage.details["cursor"] = encode_cursor(kind, name_of(one))
            raise
    return Page(items=tuple(items), cursor=encode_cursor(kind, name_of(kept[limit - 1])) if len(kept) > limit else None)


def sessions_page(found: Sequence[_Session], limit: int) -> Page[_Session]:
    """Make a page of up to `limit` heads, or summaries of them; one more found says that there is a next page."""
    return _page(
        found, limit, lambda head: encode_cursor("sessions", to_milliseconds(listed_at(head)), head.session_id)
    )


def parked_page(found: Sequence[ParkedInput], limit: int) -> Page[ParkedInput]:
    """Make a page of up to `limit` parked inputs; one more found says that there is a next page."""
    return _page(found, limit, lambda item: encode_cursor("parked", to_milliseconds(item.parked_at), item.parked_id))


def records_page(found: Sequence[Record], limit: int) -> Page[Record]:
    """Make a page of up to `limit` records; one more found says that there is a next page."""
    return _page(found, limit, lambda item: encode_cursor("records", to_milliseconds(item.created_at), item.key))


def _page(found: Sequence[_Item], limit: int, cursor_of: Callable[[_Item], str]) -> Page[_Item]:
    items = tuple(found[:limit])
    return Page(items=items, cursor=cursor_of(items[-1]) if len(found) > limit else None)
