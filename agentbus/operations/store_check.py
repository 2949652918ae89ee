"""Holding every head of a store to its log, and rebuilding those that are damaged, missing or wrong.

A head is rebuilt from a whole log alone. What was archived or erased has left the log: a head rebuilt from the rest
would lack what it says of that, or bring back what is to stay away.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Final

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of, generation_of, session_id_for
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import RESTORE
from agentbus.storage.port import Store
from agentbus.storage.wholeness import Wholeness
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.domain.earlier import earlier_sessions, followed
from agentbus.workers.domain.evolve import heads_after

_AT_ONCE: Final = 8
"""Conversations that are looked at side by side."""
_PAGE: Final = 200
_PAUSE: Final = 0.2
"""Seconds until a second look at what may have been in the middle of being written."""
_REBUILDS: Final = "--repair rebuilds it from the log"
_BY_INPUTS: Final = frozenset({"recent_inputs"})
"""Fields that erasure changes in a log: no two heads are told apart by them."""


_Told = tuple["Problem", str]


class Problem(StrEnum):
    """What is wrong."""

    DAMAGED_COMMIT = "damaged commit"
    """It can't be read."""
    MISSING_COMMIT = "missing commit"
    """Later ones are there."""
    DAMAGED_HEAD = "damaged head"
    """It can't be read."""
    MISSING_HEAD = "missing head"
    """The log tells of the session, which is in no list."""
    WRONG_HEAD = "wrong head"
    """It says something else than its log."""
    HEAD_BEHIND = "head behind its log"
    """As after a crash; its next message would bring it up."""
    HEAD_AHEAD = "head ahead of its log"
    """The log has lost its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with a conversation."""

    conversation_id: ConversationId
    session_id: SessionId | None = None
    version: int | None = None
    """Of the commit, or of the head that is kept."""
    problem: Problem
    found: str
    advice: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """How many conversations were looked at so far."""

    conversations: int


@dataclass(slots=True)
class _Log:
    """What a log says: the heads that it adds up to, or why it does not say all."""

    damage: list[Finding] = field(default_factory=list)
    unclear: str | None = None
    last: int = 0
    sessions: set[SessionId] = field(default_factory=set)
    heads: dict[SessionId, SessionState] = field(default_factory=dict)
    at_kept: dict[SessionId, SessionState] = field(default_factory=dict)
    """The heads as they were at the versions of those that are kept."""


@dataclass(slots=True)
class _Kept:
    """The heads that are kept of a conversation, and the damage of those that can't be read."""

    heads: dict[SessionId, SessionState] = field(default_factory=dict)
    damaged: dict[SessionId, StoreDamaged] = field(default_factory=dict)


async def check_store(store: Store, *, repair: bool) -> AsyncIterator[Finding | Checked]:
    """Look at every conversation; yield what is wrong, and after each few of them how far this is.

    With `repair`, heads are rebuilt where a whole log allows it. Others may go on writing: what is wrong only for a
    moment is not told. Raises StoreUnavailable, StoreRejected.
    """
    after: ConversationId | None = None
    looked_at = 0
    while page := await store.log.conversations(after=after, limit=_AT_ONCE):
        for findings in await side_by_side(_checked(store, one, repair=repair) for one in page):
            for finding in findings:
                yield finding
        looked_at += len(page)
        yield Checked(looked_at)
        after = page[-1]


async def _checked(store: Store, conversation: ConversationId, *, repair: bool) -> list[Finding]:
    findings, _ = await _examined(store, conversation)
    if not findings:
        return []
    await asyncio.sleep(_PAUSE)
    again, log = await _examined(store, conversation)
    lasting = [finding for finding in again if finding in findings]
    rebuilt = [log.heads[one.session_id] for one in lasting if one.session_id and one.advice == _REBUILDS]
    if not repair or not rebuilt:
        return lasting
    await store.heads.save(rebuilt)
    left, _ = await _examined(store, conversation)
    return [finding if finding in left else replace(finding, repaired=True) for finding in lasting]


async def _examined(store: Store, conversation: ConversationId) -> tuple[list[Finding], _Log]:
    # The heads first: the log goes on meanwhile, and must not end before them.
    kept = _Kept()
    await _read_heads(store, conversation, kept, set())
    log = await _read_log(store, conversation, kept)
    await _read_heads(store, conversation, kept, log.sessions)
    named = sorted({*kept.heads, *kept.damaged, *log.sessions, *log.heads}, key=generation_of)
    return [*log.damage, *(finding for one in named if (finding := _finding(one, kept, log)))], log


async def _read_heads(store: Store, conversation: ConversationId, kept: _Kept, named: set[SessionId]) -> None:
    """Read those heads of a conversation that were not read yet: of sessions named, and as long as there are any."""
    most = max(map(generation_of, named), default=0)
    for generation in count(1):
        session = session_id_for(conversation, generation)
        there = session in kept.heads or session in kept.damaged or await _read_head(store, session, kept)
        if not there and generation >= most:
            return


async def _read_head(store: Store, session: SessionId, kept: _Kept) -> bool:
    """Read a head; return whether there is one, damaged or not."""
    try:
        head = await store.heads.get(session)
    except StoreDamaged as damage:
        kept.damaged[session] = damage
        return True
    if head is not None:
        kept.heads[session] = head
    return head is not None


async def _read_log(store: Store, conversation: ConversationId, kept: _Kept) -> _Log:
    log = _Log()
    whole = Wholeness()
    state = SessionState.empty(conversation)
    async for version, commit in _commits(store, conversation):
        if version != log.last + 1:
            log.damage.append(_missing(conversation, log.last + 1, version))
        log.last = version
        if isinstance(commit, StoreDamaged):
            log.damage.append(_damaged(conversation, version, commit))
            log.unclear = log.unclear or f"commit {version} is damaged"
            continue
        log.sessions |= {event.session_id for event in commit.events}
        log.unclear = log.unclear or whole.missing(commit)
        if log.unclear is None:
            state = _follow(log, kept, state, commit)
    log.unclear = log.unclear or (None if log.last else "there is none")
    return log


async def _commits(store: Store, conversation: ConversationId) -> AsyncIterator[tuple[int, Commit | StoreDamaged]]:
    """Yield a log's commits with their versions, and the damage in the place of those that can't be read."""
    first = 1
    while True:
        damage: StoreDamaged | None = None
        try:
            page = await store.log.read(conversation, first=first, limit=_PAGE)
        except StoreDamaged as error:
            damage, last = error, int(error.details["version"]) - 1
            page = await store.log.read(conversation, first=first, last=last, limit=_PAGE) if first <= last else []
        for commit in page:
            yield commit.version, commit
        if damage:
            first = int(damage.details["version"]) + 1
            yield first - 1, damage
        elif page:
            first = page[-1].version + 1
        else:
            return


def _follow(log: _Log, kept: _Kept, state: SessionState, commit: Commit) -> SessionState:
    """Let the heads follow a commit, those of earlier sessions too that it is about; return the latest."""
    heads = heads_after(state, commit)
    log.heads |= {head.session_id: head for head in heads}
    changed = {head.session_id for head in heads}
    for event in commit.events:
        for session in log.heads.keys() & set(earlier_sessions(event)):
            marks = {"version": commit.version, "epoch": commit.epoch}
            log.heads[session] = followed(log.heads[session], event).model_copy(update=marks)
            changed.add(session)
    for session in changed & kept.heads.keys():
        if kept.heads[session].version == commit.version:
            log.at_kept[session] = log.heads[session]
    return heads[-1]


def _missing(conversation: ConversationId, first: int, following: int) -> Finding:
    which = f"commit {first} is" if following == first + 1 else f"commits {first} to {following - 1} are"
    return Finding(
        conversation_id=conversation,
        version=first,
        problem=Problem.MISSING_COMMIT,
        found=f"{which} missing, commit {following} is there",
        advice=RESTORE,
    )


def _damaged(conversation: ConversationId, version: int, damage: StoreDamaged) -> Finding:
    return Finding(
        conversation_id=conversation,
        version=version,
        problem=Problem.DAMAGED_COMMIT,
        found=str(damage),
        advice=RESTORE,
    )


def _finding(session: SessionId, kept: _Kept, log: _Log) -> Finding | None:
    """Return what is wrong with a session's head."""
    head = kept.heads.get(session)
    if damage := kept.damaged.get(session):
        told: _Told | None = (Problem.DAMAGED_HEAD, str(damage))
    elif head is None:
        told = (Problem.MISSING_HEAD, "the log tells of this session, and there is no head")
    else:
        told = _wrong(head, log)
    if told is None:
        return None
    problem, found = told
    return Finding(
        conversation_id=conversation_of(session),
        session_id=session,
        version=head.version if head else None,
        problem=problem,
        found=found,
        advice=_advice(session, problem, log),
    )


def _advice(session: SessionId, problem: Problem, log: _Log) -> str:
    if problem is Problem.HEAD_AHEAD:
        return f"{RESTORE}: what the log has lost can't be rebuilt from the head"
    if log.unclear is None and session in log.heads:
        return _REBUILDS
    return f"{RESTORE}: {log.unclear or 'the log does not tell of this session'}"


def _wrong(head: SessionState, log: _Log) -> _Told | None:
    """Return what is wrong with a head that can be read."""
    if head.version > log.last:
        return Problem.HEAD_AHEAD, f"the head has version {head.version}, the log ends at {log.last}"
    if log.unclear is not None:
        return None  # Nobody can say what it should be: what is there is left alone.
    if (rebuilt := log.heads.get(head.session_id)) is None:
        return Problem.WRONG_HEAD, "the log does not tell of this session"
    if head.version < rebuilt.version:
        return Problem.HEAD_BEHIND, f"the head has version {head.version}, its log {rebuilt.version}"
    if differing := _differing(head, log.at_kept.get(head.session_id)):
        return Problem.WRONG_HEAD, f"it differs from its log in: {', '.join(differing)}"
    return None


def _differing(head: SessionState, rebuilt: SessionState | None) -> list[str]:
    """Return the fields in which two heads differ."""
    if rebuilt is None:
        return ["version"]
    names = type(head).model_fields.keys() - _BY_INPUTS
    return sorted(name for name in names if getattr(head, name) != getattr(rebuilt, name))
