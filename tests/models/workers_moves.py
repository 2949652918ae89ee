"""What happens around the two workers: people talk, rules, links and policies change, workers are killed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    ExtendSession,
    LinkIdentity,
    ResetSession,
    SetData,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, Resolution, SyncMode, SyncPolicy
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.sync.policies import DEFAULT
from tests.models.workers_world import INSTANCES, World

WHERE: Final = tuple(
    Address(platform=Platform(platform), chat=f"{platform}-chat", user=user)
    for platform, user in (
        ("telegram", "ann"),
        ("slack", "ann"),
        ("web", "ann"),
        ("ms-teams", "bob"),
        ("line", "bob"),
    )
)
PEOPLE: Final = ("ann", "bob")
KEYS: Final = ("city", "card", "profile")
SPANS: Final = (5.0, 20.0, 60.0, 300.0)
MOST_AWAITS: Final = 12
"""A call is killed after so many turns of the loop at most."""

_ENDINGS: Final = (
    (),
    (),
    (CleanupAction.EXPIRE,),
    (CleanupAction.ARCHIVE,),
    (CleanupAction.ARCHIVE, CleanupAction.DELETE),
    (CleanupAction.MERGE, CleanupAction.ARCHIVE, CleanupAction.DELETE),
    (CleanupAction.MERGE,),
    (CleanupAction.DELETE,),
)


@dataclass
class Moves:
    """Makes one thing happen at a time; what it is comes from the seed and the step's number alone."""

    world: World
    random: Random = field(default_factory=Random)
    said: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    """Texts of messages that were deleted."""
    replay: list[EventEnvelope] = field(default_factory=list)
    """Events that were handled, some of which come again."""
    same_policies: bool = True
    """Whether no policy was changed since the linked sessions were last brought together."""

    async def step(self, seed: int, number: int) -> None:
        """Take a step."""
        self.random = Random(f"{seed}/{number}")
        await self.world.advance(timedelta(milliseconds=self.random.randint(1, 50)))
        name = self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        outcome = await _ALL[name](self)
        self.said.append(f"{number}: {name} {outcome or ''}")

    # People

    async def say(self) -> str:
        where = self.random.choice(WHERE)
        text = f"said {next(self.world.numbers)}"
        now = self.world.clock.now()
        message = InboundMessage(address=where, message_id=text, sent_at=now, content=TextContent(text=text))
        await self.world.client.publish(message)
        await self.world.quiet()
        return f"{where.platform} {text!r}"

    async def reply(self) -> str:
        if (session := await self._session()) is None:
            return "nobody"
        message = OutboundMessage(content=TextContent(text=f"answer {next(self.world.numbers)}"))
        await self.world.ask(UpdateSession(session_id=session.session_id, messages=(message,)))
        return session.session_id

    async def write(self) -> str:
        if (session := await self._session()) is None:
            return "nowhere"
        number = next(self.world.numbers)
        values: dict[str, Any] = {}
        for key in self.random.sample(KEYS, self.random.randint(1, 2)):
            inner = {self.random.choice("abc"): number, "deep": {self.random.choice("xy"): number}}
            values[key] = inner if key == "profile" and self.random.random() < 0.8 else number
        remove = tuple(key for key in KEYS if key not in values and self.random.random() < 0.2)
        await self.world.ask(SetData(session_id=session.session_id, values=values, remove=remove))
        return f"{session.session_id} {values} without {remove}"

    async def remove(self) -> str:
        if (session := await self._session()) is None or not session.data:
            return "nothing"
        gone = self.random.choice(sorted(session.data))
        changes = FieldChanges(remove=(gone,))
        await self.world.ask(UpdateSession(session_id=session.session_id, data=changes))
        return f"{session.session_id} {gone}"

    async def create(self) -> str:
        where = self.random.choice(WHERE)
        profile = Profile(
            owner=where.user,
            idle_timeout=self.random.choice((None, 30.0)),
            lifetime=self.random.choice((None, None, 100.0)),
        )
        await self.world.ask(CreateSession(address=where, profile=profile, data={"card": next(self.world.numbers)}))
        return f"{where.platform} {profile.idle_timeout} {profile.lifetime}"

    async def end(self) -> str:
        if (session := await self._session()) is None:
            return "nothing"
        kind = self.random.choice((ResetSession, CloseSession, DeleteSession))
        await self.world.ask(kind(session_id=session.session_id))
        return f"{kind.__name__} {session.session_id}"

    async def set_state(self) -> str:
        if (session := await self._session()) is None:
            return "nothing"
        status = self.random.choice((SessionStatus.SUSPENDED, SessionStatus.ACTIVE, SessionStatus.EXPIRED))
        await self.world.ask(ChangeState(session_id=session.session_id, status=status))
        return f"{session.session_id} {status}"

    async def extend(self) -> str:
        if (session := await self._session()) is None:
            return "nothing"
        await self.world.ask(ExtendSession(session_id=session.session_id, seconds=self.random.choice(SPANS)))
        return session.session_id

    async def delete_message(self) -> str:
        said = [one for one in self.world.happened.values() if isinstance(one, MessageAppended) and one.source is None]
        if not said:
            return "nothing"
        event = self.random.choice(said)
        done = await self.world.ask(DeleteMessage(session_id=event.session_id, target=event.message.key))
        if done is not None and isinstance(event.message.content, TextContent):
            self.deleted.add(event.message.content.text)
        return f"{event.message.message_id} {done is not None}"

    async def restore(self) -> str:
        archived = [one for one in await self.world.heads() if one.status is SessionStatus.ARCHIVED]
        if not archived:
            return "nothing"
        session = self.random.choice(archived).session_id
        world = self.world
        try:
            await restore_session(world.store, world.archive, world.commands, session, clock=world.clock)
        except AgentBusError as error:
            return f"{session} {type(error).__name__}"
        return session

    # Links and policies

    async def link(self) -> str:
        sessions = await self._sessions()
        if len(sessions) < 2:
            return "nobody"
        person = self.random.choice(PEOPLE)
        chosen = [one.session_id for one in self.random.sample(sessions, 2)]
        try:
            await self.world.sync.identities.link(person, chosen)
        except AgentBusError as error:
            return f"{person} {chosen} {type(error).__name__}"
        return f"{person} {chosen}"

    async def link_one(self) -> str:
        if (session := await self._session()) is None:
            return "nobody"
        person = self.random.choice(PEOPLE)
        await self.world.ask(LinkIdentity(session_id=session.session_id, identity=person))
        return f"{person} {session.session_id}"

    async def unlink(self) -> str:
        if (session := await self._session()) is None or session.identity is None:
            return "nobody"
        await self.world.ask(UnlinkIdentity(session_id=session.session_id, identity=session.identity))
        return session.session_id

    async def policy(self) -> str:
        key = self.random.choice((*PEOPLE, DEFAULT))
        self.same_policies = False
        if self.random.random() < 0.2:
            await self.world.sync.policies.forget(key)
            return f"{key} forgotten"
        policy = SyncPolicy(
            mode=self.random.choice(list(SyncMode)),
            strategy=self.random.choice(list(ConflictStrategy)),
            data=self.random.choice((("*",), ("*",), ("c*",))),
            history=self.random.random() < 0.3,
            priority=self.random.choice(((), (Platform.SLACK,), (Platform.WEB, Platform.TELEGRAM))),
            delay=3.0,
            interval=10.0,
        )
        await self.world.sync.policies.keep(key, policy)
        return f"{key} {policy.mode} {policy.strategy} {policy.data} {policy.history}"

    async def ask_for_sync(self) -> str:
        if (session := await self._session()) is None:
            return "nobody"
        await self.world.sync.on_demand.sync(session.session_id)
        return session.session_id

    async def resolve(self) -> str:
        open_ones = [one for one in await self._sessions() if one.conflicts]
        if not open_ones:
            return "nothing"
        session = self.random.choice(open_ones).session_id
        await self.world.sync.conflicts.resolve([session], Resolution(take_offered=self.random.random() < 0.5))
        return session

    # Rules

    async def rule(self) -> str:
        rule = self._rule()
        await self.world.expiring[0].rules.add(rule)
        return f"{rule.rule_id} {rule.strategy} {[(one.action.value, one.after) for one in rule.actions]}"

    async def rule_off(self) -> str:
        rules, book = self.world.expiring[0].rules, await self.world.expiring[0].rules.list()
        if not book:
            return "nothing"
        rule = self.random.choice(book).rule_id
        what = self.random.choice(("remove", "disable", "enable", "disable and enable"))
        if what == "remove":
            await rules.remove(rule)
            return f"{rule} removed"
        if what != "enable":
            await rules.enable(rule, False)
        if what == "disable and enable":
            # One instance alone sees what is between.
            one = self.random.choice(self.world.expiring)
            await one.book.refresh()
            await one.due.turn()
            await self.world.advance(timedelta(milliseconds=1))
        if what != "disable":
            await rules.enable(rule, True)
        return f"{rule} {what}"

    def _rule(self) -> ExpiryRule:
        strategy = self.random.choice([one for one in ExpiryStrategy if one is not ExpiryStrategy.CUSTOM])
        span = self.random.choice(SPANS)
        asked: dict[ExpiryStrategy, dict[str, Any]] = {
            ExpiryStrategy.TIME: {"max_age": span},
            ExpiryStrategy.ACTIVITY: {"idle_for": span},
            ExpiryStrategy.USAGE: {"max_messages": self.random.randint(2, 5)},
            ExpiryStrategy.HYBRID: {
                "max_age": span,
                "idle_for": self.random.choice(SPANS),
                "match": self.random.choice(("all", "any")),
            },
        }
        kinds = [CleanupAction.NOTIFY] * self.random.randint(0, 1) + [CleanupAction.SUSPEND] * self.random.randint(0, 1)
        kinds += self.random.choice(_ENDINGS)
        kinds = kinds or [CleanupAction.NOTIFY]
        steps = [Step(action=kind, after=self.random.choice((0.0, 2.0, 30.0))) for kind in kinds]
        platforms = self.random.choice(((), (), (Platform.TELEGRAM, Platform("ms-teams"))))
        return ExpiryRule(
            rule_id=f"rule-{self.random.randint(0, 3)}",
            strategy=strategy,
            conditions=Conditions(**asked[strategy], platforms=platforms),
            actions=tuple(steps),
            priority=self.random.randint(0, 2),
            warn_before=self.random.choice((None, 3.0, 10.0)),
        )

    # The workers

    async def to_sync(self) -> str:
        """Hand some events to the sync worker, in any order, some of them once more; it may be killed."""
        return await self._hand(self.world.for_sync, self._sync_handles)

    async def to_expiry(self) -> str:
        return await self._hand(self.world.for_expiry, self._expiry_handles)

    async def sync_turn(self) -> str:
        due = await self.world.store.records.due(RecordKind.SYNC_TASK, self.world.clock.now(), limit=5)
        killed = 0
        for task in due:
            if await self._perhaps_killed(self.world.sync.tasks.carry_out(task)):
                killed += 1
                await self.world.restart_sync()
        return f"{len(due)}, killed {killed}"

    async def expiry_turn(self) -> str:
        index = self.random.randrange(INSTANCES)
        one = self.world.expiring[index]
        what = self.random.choice(("due", "due", "rescan", "refresh"))
        turn = {"due": one.due.turn, "rescan": one.rescan.turn, "refresh": one.book.refresh}[what]
        if killed := await self._perhaps_killed(turn()):
            await self.world.restart_expiry(index)
        return f"{index} {what} {'killed' if killed else ''}"

    async def kill(self) -> str:
        """Kill a worker with what it does beside its turns."""
        index = self.random.randrange(INSTANCES)
        await self.world.restart_expiry(index)
        await self.world.restart_sync()
        return f"{index}"

    async def wait(self) -> str:
        step = timedelta(seconds=self.random.choice((0.3, 1.5, 6.0, 25.0, 70.0)))
        await self.world.advance(step)
        return f"{step.total_seconds():g} s"

    async def _hand(self, events: list[EventEnvelope], handles: Callable[[EventEnvelope], Awaitable[bool]]) -> str:
        self.random.shuffle(events)
        taken = events[: self.random.randint(1, 6)]
        del events[: len(taken)]
        again = self.random.sample(self.replay, min(len(self.replay), self.random.randint(0, 2)))
        killed = 0
        for event in (*taken, *again):
            if await handles(event):
                killed += 1
                events.append(event)
            else:
                self.replay.append(event)
        del self.replay[:-200]
        return f"{len(taken)} and {len(again)} again, killed {killed}"

    async def _sync_handles(self, event: EventEnvelope) -> bool:
        killed = await self._perhaps_killed(self.world.sync.handler.handle(event))
        if killed:
            await self.world.restart_sync()
        return killed

    async def _expiry_handles(self, event: EventEnvelope) -> bool:
        index = self.random.randrange(INSTANCES)
        killed = await self._perhaps_killed(self.world.expiring[index].handler.handle(event))
        if killed:
            await self.world.restart_expiry(index)
        return killed

    async def _perhaps_killed(self, call: Any) -> bool:
        after = self.random.randint(0, MOST_AWAITS) if self.random.random() < 0.4 else 10**6
        return await self.world.killed(call, after) if after < 10**6 else await _made(call)

    async def _sessions(self) -> list[SessionState]:
        live = [one for one in await self.world.heads() if one.is_live]
        return sorted(live, key=lambda one: one.session_id)

    async def _session(self) -> SessionState | None:
        live = await self._sessions()
        return self.random.choice(live) if live else None


async def _made(call: Awaitable[object]) -> bool:
    await call
    return False


_WEIGHTS: Final = {
    "say": 14,
    "reply": 3,
    "write": 14,
    "remove": 4,
    "create": 3,
    "end": 3,
    "set_state": 2,
    "extend": 1,
    "delete_message": 3,
    "restore": 2,
    "link": 4,
    "link_one": 2,
    "unlink": 2,
    "policy": 2,
    "ask_for_sync": 1,
    "resolve": 1,
    "rule": 3,
    "rule_off": 2,
    "to_sync": 12,
    "to_expiry": 10,
    "sync_turn": 3,
    "expiry_turn": 8,
    "kill": 1,
    "wait": 6,
}
_ALL: Final[dict[str, Callable[[Moves], Awaitable[str]]]] = {name: getattr(Moves, name) for name in _WEIGHTS}
