"""Sessions to be moved: made up, the same each time, and written into a store as workers do."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.events import AnyEvent, Commit, MessageAppended, SessionStarted, StartReason
from agentbus.contracts.ids import (
    ConversationId,
    InputId,
    MessageKey,
    Partition,
    SessionId,
    digest_of,
    session_id_for,
)
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.parked import ParkedInput, parked_id_for
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Store
from agentbus.workers.domain.evolve import heads_along
from agentbus.workers.patience import Patience

MESSAGES: Final = 20
"""Messages of a session."""

TOGETHER: Final = 1_000
"""Conversations that are written together: neighbours by their ids, which stand side by side in a database's index."""
_BURSTS: Final = (1, 2, 3, 4, 3, 2, 1, 4)
"""How many messages each commit of a session holds: a worker takes together what waits."""
_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=1)
"""With who writes another share of the same: SQLite has one writer at a time, whoever gets there first."""
_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_WORDS: Final = (
    "good",
    "morning",
    "to",
    "all",
    "😀",
    "who",
    "are",
    "awake",
    "and",
    "listen",
    "to",
    "the",
    "lazy",
    "dog",
    "é",
)


def conversation_of(number: int) -> ConversationId:
    """Return the conversation of a number."""
    return ConversationId(digest_of(("migrations", str(number))))


async def fill(store: Store, sessions: int) -> None:
    """Write so many sessions, and something beside them, into an empty store."""
    await fill_sessions(store, sessions)
    await fill_beside(store, sessions)


async def fill_sessions(store: Store, sessions: int, *, share: int = 0, shares: int = 1) -> None:
    """Write the sessions, or one share of them: others write the other shares, of a store that all of them reach."""
    by_id = sorted(range(sessions), key=conversation_of)
    for some in list(chunks(by_id, TOGETHER))[share::shares]:
        logs = [list(_commits(number)) for number in some]
        for batch in zip(*logs, strict=True):
            assert await _PATIENCE.call(partial(store.log.append, batch)) == [None] * len(batch)
        assert not any(await _PATIENCE.call(partial(store.heads.save, [_head(log) for log in logs])))


async def fill_beside(store: Store, sessions: int) -> None:
    """Write what there is beside so many sessions."""
    for number in range(max(1, sessions // 100)):
        await store.parked.put(_parked(number))
        await store.records.put_many([_record(number, kind) for kind in (RecordKind.CHECKPOINT, RecordKind.DEADLINE)])
        await store.members.take_epoch("agentbus", Partition(number % 64))
        if lock := await store.locks.acquire(f"lock-{number}", ttl=60):
            await store.locks.release(lock.name, lock.token)


def _commits(number: int) -> Iterator[Commit]:
    conversation = conversation_of(number)
    session, address = session_id_for(conversation, 1), _address(number)
    begun = SessionStarted(
        session_id=session,
        sequence=1,
        at=_moment(number),
        cause=InputId("begin"),
        reason=StartReason.MESSAGE,
        address=address,
        profile=Profile(owner=address.user, tags=(f"tag-{number % 7}",)),
    )
    events: list[AnyEvent] = [begun]
    said = 0
    for version, burst in enumerate(_BURSTS, 1):
        events += [_appended(number, session, address, said + one) for one in range(burst)]
        inputs = tuple(InputId(f"telegram:{number}:{said + one}") for one in range(burst))
        said += burst
        at = _moment(number, said)
        yield Commit(conversation_id=conversation, version=version, epoch=1, at=at, inputs=inputs, events=tuple(events))
        events = []


def _appended(number: int, session: SessionId, address: Address, said: int) -> MessageAppended:
    words = [_WORDS[(number * 7 + said * 3 + place) % len(_WORDS)] for place in range(5 + (number + said) % 40)]
    message = SessionMessage(
        key=MessageKey(f"key-{said}"),
        message_id=str(said),
        role=Role.USER if said % 2 == 0 else Role.ASSISTANT,
        address=address,
        author="Ann",
        sent_at=_moment(number, said),
        content=TextContent(text=" ".join(words)),
    )
    return MessageAppended(
        session_id=session,
        sequence=said + 2,
        at=_moment(number, said),
        cause=InputId(f"telegram:{number}:{said}"),
        platform=Platform.TELEGRAM,
        message=message,
    )


def _head(log: Sequence[Commit]) -> SessionState:
    *_, head = heads_along(SessionState.empty(log[0].conversation_id), log)
    return head


def _parked(number: int) -> ParkedInput:
    body = f"not JSON {number} \N{PILE OF POO}".encode() + bytes(range(256)) * 8
    return ParkedInput(
        parked_id=parked_id_for(str(number), body),
        message_id=str(number),
        queue="agentbus.inbound.0",
        code="undecodable",
        reason="it is not JSON",
        parked_at=_moment(number),
        size=len(body),
        body=body,
    )


def _record(number: int, kind: RecordKind) -> Record:
    data = {"number": number, "words": [*_WORDS], "a.b": {"$c": 1.0}}
    return Record(kind=kind, key=f"key-{number}", group=f"group-{number % 9}", created_at=_moment(number), data=data)


def _address(number: int) -> Address:
    return Address(platform=Platform.TELEGRAM, chat=f"chat-{number}", user=f"user-{number % 1000}")


def _moment(number: int, said: int = 0) -> datetime:
    return _NOON + timedelta(seconds=number, milliseconds=said * 1500)
