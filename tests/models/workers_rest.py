"""What must be so once the workers have nothing left to do."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Final

from agentbus.contracts.errors import Refused
from agentbus.contracts.events import (
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    DataSet,
    MessageAppended,
    MessageEdited,
    SessionStarted,
)
from agentbus.contracts.expiry import CleanupAction, ExpiryRule
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, SyncMode, SyncPolicy
from agentbus.storage.history import iter_history
from agentbus.storage.reading import iter_parked
from agentbus.workers.domain.expiry import Later, holds_at, is_for
from agentbus.workers.domain.sync.fields import DATA, leaves
from agentbus.workers.expiry.watch.phases import due_of, is_stripped, next_phase
from agentbus.workers.sync.exchange import shares
from agentbus.workers.sync.members import live_members
from tests.models.workers_moves import PEOPLE, Moves
from tests.models.workers_world import World

LONG: Final = timedelta(seconds=1000)
"""Longer than any rule waits for anything: its condition, its warning, a step, a command given again."""
AGAIN: Final = timedelta(seconds=300)
"""Within this time what could not be done is tried again."""
ROUNDS: Final = 8
"""More than a rule has steps, its warning among them."""

_ENDED_BY: Final = {
    CleanupAction.EXPIRE: {SessionStatus.EXPIRED},
    CleanupAction.MERGE: {SessionStatus.EXPIRED},
    CleanupAction.ARCHIVE: {SessionStatus.ARCHIVED},
    CleanupAction.DELETE: {SessionStatus.DELETED},
}


_HOLDING: Final = (
    SessionStarted,
    MessageAppended,
    MessageEdited,
    DataSet,
    ContextMerged,
    ConflictOpened,
    ConflictResolved,
)


async def at_rest(moves: Moves, chance: Random) -> list[str]:
    """Let the workers come to rest; return what is not as it must be."""
    world = moves.world
    await world.settle(chance)
    await world.advance(timedelta(seconds=1.5))  # what the workers hold of policies is as old as that at most
    await world.settle(chance)
    if not moves.same_policies:
        await _bring_together(world, chance)
        moves.same_policies = True
    await _syncs_carried_out(world, chance)
    found = [f"parked: {one.code} {one.reason}" async for one in iter_parked(world.store)]
    return [*found, *await _differing(world), *await _forgotten(world), *await _readable(moves)]


async def at_long_rest(moves: Moves, chance: Random) -> list[str]:
    """Let much time pass, until the rules have nothing left to do; return what is not as it must be."""
    found = await at_rest(moves, chance)
    for _ in range(ROUNDS):
        await moves.world.advance(LONG)
        await moves.world.settle(chance)
    return [*found, *await at_rest(moves, chance), *await _misplaced(moves.world)]


async def _bring_together(world: World, chance: Random) -> None:
    """Do what somebody does who has changed a policy: sync all that is linked, whatever the mode."""
    for _ in range(2):
        for person in PEOPLE:
            for member in await live_members(world.store, person):
                now = await world.store.heads.get(member.session_id)
                if now is None or now.status is SessionStatus.DELETED:
                    continue  # what came with a sync of the others was the message too many, by a rule
                await world.sync.on_demand.sync(member.session_id)
                await world.settle(chance)


async def _syncs_carried_out(world: World, chance: Random) -> None:
    for _ in range(3):
        await world.advance(timedelta(seconds=11))
        await world.settle(chance)


async def _differing(world: World) -> list[str]:
    """Linked sessions agree on what their policy shares."""
    found: list[str] = []
    for person in PEOPLE:
        policy = await world.sync.policies.of(person)
        if policy.strategy is ConflictStrategy.MANUAL or policy.mode is SyncMode.MANUAL:
            continue  # they agree once somebody says so
        members = sorted(await live_members(world.store, person), key=lambda one: one.session_id)
        for one, other in pairwise(members):
            if (mine := _shared(one, policy)) != (theirs := _shared(other, policy)):
                found.append(f"{person}: {one.session_id} has {mine}, {other.session_id} {theirs} by {policy.strategy}")
    return found


def _shared(session: SessionState, policy: SyncPolicy) -> dict[str, object]:
    return {field: value for field, value in leaves(DATA, session.data).items() if shares(policy, field)}


async def _forgotten(world: World) -> list[str]:
    """Whatever is to be done about a session, now or later, somebody will look at it by then."""
    rules, now = world.expiring[0].book.rules, world.clock.now()
    found: list[str] = []
    for head in await _all_heads(world):
        record = await world.store.records.get(RecordKind.DEADLINE, head.session_id)
        if head.status is SessionStatus.ARCHIVED and record is None and (left := await _in_log(world, head)):
            found.append(f"{head.session_id} is archived, and its events are in the log: {left}")
        stripped = record is None or is_stripped(record)
        phase = next_phase(rules, head, now, stripped=stripped)
        due = due_of(phase, now)
        if due is None:
            continue
        # A command whose effect was not seen, or that could not be carried out, is given again after a while.
        latest = due if isinstance(phase, Later) else now + AGAIN
        if record is None or record.due_at is None or record.due_at > latest:
            found.append(
                f"nobody looks at {head.session_id} ({head.status}) for {phase}, but {record and record.due_at}"
            )
    return found


async def _in_log(world: World, head: SessionState) -> list[str]:
    """Return which of an archived session's events that hold what was said or kept are still in the log."""
    commits = await world.store.log.read(head.conversation_id, first=head.first_version, last=head.version, limit=1000)
    last = head.archive.sequence if head.archive else 0
    events = [event for commit in commits for event in commit.events if isinstance(event, _HOLDING)]
    return [event.kind for event in events if event.session_id == head.session_id and event.sequence <= last]


async def _misplaced(world: World) -> list[str]:
    """After a long time, each session is where the rules say."""
    rules = sorted(world.expiring[0].book.rules, key=lambda rule: (-rule.priority, rule.rule_id))
    found: list[str] = []
    for head in await _all_heads(world):
        if head.is_live:
            found += _not_over(head, rules, world)
        elif head.expiry and head.expiry.action.ends:
            found += _not_put_away(head, rules)
    return found


def _not_over(head: SessionState, rules: Iterable[ExpiryRule], world: World) -> list[str]:
    """Look at a live session: the gravest rule that holds for it has taken all its steps, and none is an end."""
    if head.profile.expires_at and head.profile.expires_at <= world.clock.now():
        return [f"{head.session_id} is {head.status} though its time is over"]
    if head.profile.idle_timeout and head.status is SessionStatus.ACTIVE:
        return [f"{head.session_id} is active after so long"]
    rule = next((one for one in rules if is_for(one, head) and holds_at(one, head) is not None), None)
    if rule is None:
        return []
    taken = head.expiry or head.last_step
    if taken and taken.rule_id == rule.rule_id and taken.step >= len(rule.actions) - 1:
        return []  # through; a rule that was changed goes on from where it was
    if any(step.action.ends for step in rule.actions):
        return [f"{head.session_id} is {head.status}, {rule.rule_id} was to end it: {rule}, {head.expiry}"]
    return [f"{head.session_id} is at {taken}, {rule} is not through"]


def _not_put_away(head: SessionState, rules: Iterable[ExpiryRule]) -> list[str]:
    """Look at a session that a rule ended: it has taken all its steps, and the session is where the last puts it."""
    progress = head.expiry
    rule = next((one for one in rules if progress and one.rule_id == progress.rule_id and one.enabled), None)
    if progress is None or rule is None or head.status is SessionStatus.DELETED:
        return []
    left = {step.action for step in rule.actions[progress.step + 1 :]}
    if CleanupAction.DELETE in left or (CleanupAction.ARCHIVE in left and progress.action is not CleanupAction.ARCHIVE):
        return [f"{head.session_id} ({head.status}) is at {progress}, {rule} is not through"]
    if progress.action in _ENDED_BY and head.status not in {*_ENDED_BY[progress.action], SessionStatus.DELETED}:
        return [f"{head.session_id} is {head.status} after {progress}"]
    return []


async def _readable(moves: Moves) -> list[str]:
    """Nothing that was deleted can be read: messages, sessions, what the archive had of them."""
    world = moves.world
    found: list[str] = []
    for head in await _all_heads(world):
        if head.status is not SessionStatus.DELETED:
            texts = {_text(message) async for message in iter_history(world.store, head)}
            found += [f"{text!r} was deleted, and is in {head.session_id}" for text in sorted(texts & moves.deleted)]
            continue
        try:
            await world.client.history(head.session_id)
            found.append(f"the history of {head.session_id} can be read though it was deleted")
        except Refused:
            pass
        if await world.archive.entries_of(head.session_id):
            found.append(f"{head.session_id} was deleted, and the archive has it")
    return found


def _text(message: HistoryMessage) -> str:
    content = message.message.content
    return content.text if isinstance(content, TextContent) else ""


async def _all_heads(world: World) -> list[SessionState]:
    known: set[SessionId] = {event.session_id for event in world.happened.values()}
    heads = await world.store.heads.get_many(known)
    return sorted(heads.values(), key=lambda head: head.session_id)
