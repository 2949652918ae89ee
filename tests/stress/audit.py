"""The reckoning: what the log and the session API show is held against what was confirmed and refused."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from agentbus.contracts.events import AnyEvent, DataSet, MessageAppended, MetadataSet, ProfileChanged
from agentbus.contracts.ids import conversation_of
from agentbus.sessions import SessionManager
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked
from tests.stress.caller import as_text
from tests.stress.ledger import Ledger
from tests.stress.model import Key, Outcome, Right, SessionModel

_LOGGED: Final = {"message", "data", "metadata"}
_PAGE: Final = 1000


async def audit(
    manager: SessionManager, store: Store, sessions: Sequence[SessionModel], users: Sequence[str], ledger: Ledger
) -> None:
    """Check every session, in the log and as the session API shows it."""
    events: dict[str, list[AnyEvent]] = {}
    for conversation in {conversation_of(one.session_id) for one in sessions}:
        async for commit in iter_log(store, conversation):
            for event in commit.events:
                events.setdefault(event.session_id, []).append(event)
    for session in sessions:
        found = [key for event in events.get(session.session_id, []) for key in keys_of(event)]
        check_log(session, found, ledger)
        check_shares(session, events.get(session.session_id, []), ledger)
        if session.access.exists:
            await _check_shown(manager, session, found, ledger)
            await _check_checkpoints(manager, session, ledger)
        await _check_access(manager, session, users, ledger)
    async for parked in iter_parked(store):
        ledger.breach("input parked", f"{parked.parked_id}: {parked.reason}")


def keys_of(event: AnyEvent) -> list[Key]:
    """Return the changes that an event is made of, as the model names them."""
    match event:
        case MessageAppended():
            return [("message", event.message.message_id)]
        case DataSet():
            return [("data", name, as_text(value)) for name, value in event.values.items()]
        case MetadataSet():
            return [("metadata", name, as_text(value)) for name, value in event.values.items()]
    return []


def check_log(session: SessionModel, found: Sequence[Key], ledger: Ledger) -> None:
    """Check that what was confirmed is there once, what was refused is not, and all is in the order of the calls."""
    times = Counter(found)
    for key, effect in session.effects.items():
        count = times.pop(key, 0)
        if key[0] not in _LOGGED:
            continue
        if effect.outcome is Outcome.CONFIRMED and not count:
            ledger.breach("confirmed effect is missing", f"{session.session_id} {key}")
        elif effect.outcome is Outcome.REFUSED and count:
            ledger.breach("refused call had an effect", f"{session.session_id} {key}")
        elif count > 1:
            ledger.breach("effect is doubled", f"{session.session_id} {key}: {count} times")
    for key in times:
        ledger.breach("effect that nobody asked for", f"{session.session_id} {key}")
    _check_order(session, found, ledger)
    _check_counts(session, found, ledger)


def _check_order(session: SessionModel, found: Sequence[Key], ledger: Ledger) -> None:
    """Check that no change stands behind one that was begun after it had been confirmed."""
    latest = -math.inf
    for effect in [session.effects[key] for key in found if key in session.effects]:
        if effect.outcome is Outcome.CONFIRMED and effect.end is not None and effect.end < latest:
            ledger.breach("out of order", f"{session.session_id} {effect.key} of {effect.user}")
        latest = max(latest, effect.start)


def _check_counts(session: SessionModel, found: Sequence[Key], ledger: Ledger) -> None:
    """Check that each change of a counter counts one on."""
    counters: dict[Key, list[Any]] = {}
    for key in found:
        if key[0] in {"data", "metadata"} and (key[1] == "locked" or key[1].startswith("count-")):
            counters.setdefault(key[:-1], [0]).append(_number(key[-1]))
    for name, numbers in counters.items():
        if any(later != earlier + 1 for earlier, later in pairwise(numbers)):
            ledger.breach("update was lost", f"{session.session_id} {name}: {numbers}")


def _number(text: str) -> int:
    return int(text.removeprefix("[").partition(",")[0])


def check_shares(session: SessionModel, events: Sequence[AnyEvent], ledger: Ledger) -> None:
    """Check that nobody was let in by someone who may not, and that those are let in whom the owner let in last."""
    profiles = [event.profile for event in events if isinstance(event, ProfileChanged)]
    refused = {key[1] for key, effect in session.effects.items() if key[0] == "share"}
    for profile in profiles:
        if let_in := refused & profile.shares.keys():
            ledger.breach("refused call had an effect", f"{session.session_id} is shared with {sorted(let_in)}")
    shares = dict(profiles[-1].shares) if profiles else {}
    if session.access.exists and shares != dict(session.access.shares):
        ledger.breach("shares differ", f"{session.session_id}: {shares}, not {dict(session.access.shares)}")


async def _check_shown(manager: SessionManager, session: SessionModel, found: Sequence[Key], ledger: Ledger) -> None:
    """Check that the session API shows what the log holds: messages in its order, and the last value of every key."""
    shown = await manager.get_session(session.session_id, user_id=session.owner)
    assert shown is not None
    for what, values in (("data", shown.data), ("metadata", shown.metadata)):
        expected = {key[1]: key[2] for key in found if key[0] == what}
        if (here := {name: as_text(value) for name, value in values.items()}) != expected:
            differing = sorted(dict(here.items() ^ expected.items()))
            ledger.breach(f"{what} differs from the log", f"{session.session_id}: {differing}")
    messages, cursor = list[str](), None
    while True:
        page = await manager.get_session_messages(session.session_id, session.owner, limit=_PAGE, before=cursor)
        messages = [message.id for message in page.items] + messages
        if (cursor := page.cursor) is None:
            break
    if messages != [key[1] for key in found if key[0] == "message"] or shown.message_count != len(messages):
        ledger.breach("history differs from the log", f"{session.session_id}: {len(messages)} messages")


async def _check_checkpoints(manager: SessionManager, session: SessionModel, ledger: Ledger) -> None:
    kept, cursor = dict[str, Any](), None
    while True:
        page = await manager.list_checkpoints(session.session_id, limit=_PAGE, cursor=cursor)
        kept |= {one.checkpoint_id: one.data for one in page.items}
        if (cursor := page.cursor) is None:
            break
    for key, effect in session.effects.items():
        if key[0] != "checkpoint":
            continue
        if effect.outcome is Outcome.CONFIRMED and kept.get(key[1]) != {"by": effect.user}:
            ledger.breach("confirmed effect is missing", f"{session.session_id} {key}")
        if effect.outcome is Outcome.REFUSED and key[1] in kept:
            ledger.breach("refused call had an effect", f"{session.session_id} {key}")


async def _check_access(manager: SessionManager, session: SessionModel, users: Sequence[str], ledger: Ledger) -> None:
    """Check who may see a session now: all whom it was ever shared with, its owner, and some others."""
    for user in {session.owner, *session.ever_shared, *users[:3]}:
        may = session.access.right(user, session.owner) >= Right.READ
        if await manager.session_exists(session.session_id, user_id=user) != may:
            ledger.breach("access differs", f"{user} {session.session_id}: {'' if may else 'not '}allowed")
