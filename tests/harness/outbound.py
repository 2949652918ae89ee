"""The way out without a broker, a server or a wait: a platform that fails as it is told, workers that are killed."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from agentbus.contracts.address import Address
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import AnyCommand, CommandReply, SendReply
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import AnyEvent, Commit, ReplySent
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.records import RecordKind
from agentbus.contracts.replies import InDoubt, ReplyId
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.contracts.writing import Writing, WritingEnvelope
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.adapters.port import (
    Capabilities,
    Failed,
    Guarantee,
    Outbound,
    Outcome,
    RateLimited,
    Sent,
    Unknown,
)
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after, replay
from agentbus.workers.outbound.amending import ReplyChanger
from agentbus.workers.outbound.channels import ByAccount, Way, Ways
from agentbus.workers.outbound.conversations import Conversations
from agentbus.workers.outbound.leases import PartitionLeases
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.pace import Pace
from agentbus.workers.outbound.sending import ReplySender
from agentbus.workers.outbound.showing import Showing
from agentbus.workers.reactive.time_loop import Share
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message

LEASE = 15.0


class Killed(BaseException):
    """The process was killed here."""


@dataclass
class Fate:
    """What happens at each place at which something may: `ok` once it has run out."""

    told: Iterator[str] = field(default_factory=lambda: iter(()))

    def next(self) -> str:
        return next(self.told, "ok")

    def tell(self, told: Iterable[str]) -> None:
        self.told = iter(told)


class FakeChannel(Outbound):
    """A platform that keeps what it took, and fails as it is told: by `Fate`, one word for each request.

    `lost` and `died`: the connection died before, or after it took the message. `killed` and `after`: so did the
    worker. `busy`: 429. `down`: surely not taken. `refused`: never taken.
    """

    def __init__(self, guarantee: Guarantee, fate: Fate, asking: Fate) -> None:
        self.guarantee = guarantee
        self.fate = fate
        self.asking = asking
        self.taken: list[tuple[str, str]] = []
        """Key and text of each message, as people see them."""
        self.requests = 0
        self.editing = Fate()
        self.edits: list[tuple[str, str]] = []
        """Id and text of each edit that it took."""
        self.deleted: list[str] = []
        self.reactions: dict[str, str] = {}
        """What the bot has to each message."""
        self.previews: list[str] | None = None
        """What was shown of replies that are being written, if it has something for that."""
        self.typed = 0

    def texts(self) -> list[str]:
        return [text for _, text in self.taken]

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        self.requests += 1
        fate = self.fate.next()
        match fate:
            case "lost":
                return Unknown("the connection died")
            case "killed":
                raise Killed
            case "busy":
                return RateLimited(3.0)
            case "down":
                return Failed("try again", permanent=False)
            case "refused":
                return Failed("the chat is gone", permanent=True)
        sent = self._take(key, content.text)
        if fate == "after":
            raise Killed
        return Unknown("the connection died") if fate == "died" else sent

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        match self.editing.next():
            case "killed":
                raise Killed
            case "busy":
                return RateLimited(3.0)
            case "refused":
                return Failed("it can't be edited any more", permanent=True)
            case "lost":
                return Unknown("the connection died")
        place = int(message_id.removeprefix("message-")) - 1
        self.taken[place] = (self.taken[place][0], content.text)
        self.edits.append((message_id, content.text))
        return Sent(message_id)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        self.deleted.append(message_id)
        return Sent(message_id)

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        match self.editing.next():
            case "killed":
                raise Killed
            case "busy":
                return RateLimited(3.0)
            case "refused":
                return Failed("it takes no such emoji", permanent=True)
            case "lost":
                return Unknown("the connection died")
        self.reactions[message_id] = reaction
        return Sent(message_id)

    async def show(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        if self.previews is None:
            return Failed("not in this chat", permanent=True)
        self.previews.append(content.text)
        return Sent(key)

    async def typing(self, address: Address, *, timeout: float = 5.0) -> None:  # noqa: ARG002 - the port's
        self.typed += 1

    async def reconcile(self, key: str, address: Address, since: datetime, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the port's
        fate = self.asking.next()
        if self.guarantee is not Guarantee.RECONCILED or fate == "lost":
            return Unknown("it does not answer")
        if fate == "busy":
            return RateLimited(3.0)
        return self._known(key) or Failed("it is not there", permanent=False)

    def _take(self, key: str, text: str) -> Sent:
        if self.guarantee is Guarantee.IDEMPOTENT and (known := self._known(key)):
            return known
        self.taken.append((key, text))
        return Sent(f"message-{len(self.taken)}")

    def _known(self, key: str) -> Sent | None:
        places = [place for place, (one, _) in enumerate(self.taken, start=1) if one == key]
        return Sent(f"message-{places[0]}") if places else None


class Killable:
    """A part of a store, before and after each of whose writes the process may be killed."""

    def __init__(self, part: Any, fate: Fate, writes: Iterable[str]) -> None:
        self._part, self._fate, self._writes = part, fate, frozenset(writes)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._part, name)
        if name not in self._writes:
            return call

        async def write(*args: Any, **kwargs: Any) -> Any:
            if self._fate.next() == "killed":
                raise Killed
            done = await call(*args, **kwargs)
            if self._fate.next() == "killed":
                raise Killed
            return done

        return write


class Owner:
    """The owner of all conversations: what it decides is in the store at once."""

    def __init__(self, world: "OutboundWorld", fate: Fate) -> None:
        self._world, self._fate = world, fate

    async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = 10.0) -> CommandReply:  # noqa: ARG002 - as Inputs has it
        assert to is not None
        if self._fate.next() == "killed":
            raise Killed
        await self._world.give(to, given.data, given.id)
        if self._fate.next() == "killed":
            raise Killed
        return CommandReply(command_id=given.id)


class AllPartitions:
    """The share of an instance that is alone."""

    groups = None
    leads = True

    def __init__(self, topology: Topology) -> None:
        self.partitions = frozenset(map(Partition, range(topology.partitions)))


class OutboundWorld:
    """A store, a platform, and one outbound worker at a time."""

    def __init__(
        self,
        guarantee: Guarantee = Guarantee.UNKNOWN,
        in_doubt: InDoubt = InDoubt.HOLD,
        *,
        can: Capabilities | None = None,
        give_up: float = 86_400.0,
        channel: Outbound | None = None,
        to: Address | None = None,
        store: Store | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.store = store or MemoryStore(self.clock)
        self.topology = Topology(partitions=4)
        self.at_platform, self.at_store, self.at_owner = Fate(), Fate(), Fate()
        self.at_asking = Fate()
        self.channel = FakeChannel(guarantee, self.at_platform, self.at_asking)
        self.outbound = channel or self.channel
        self.to = to or address()
        self.can = can or Capabilities(
            receives=frozenset(), guarantee=guarantee, text_limit=64, key_seconds=3600.0, pace=None
        )
        self.in_doubt, self.give_up = in_doubt, give_up
        self.metrics = WorkerMetrics()
        self.outbox = Outbox(self.store, self.topology, self.clock)
        self._numbers = iter(range(1, 10**6))

    def time(self) -> float:
        return self.clock.now().timestamp()

    def worker(self) -> Conversations:
        """Return an outbound worker: the one before it is gone, its leases are not."""
        records = cast("Any", Killable(self.store.records, self.at_store, ("put", "put_many", "delete", "drop")))
        store: Any = MemoryStore(self.clock)
        store.log, store.heads, store.locks, store.records = (
            self.store.log,
            self.store.heads,
            self.store.locks,
            records,
        )
        outbox = Outbox(store, self.topology, self.clock)
        ways: ByAccount = {(self.to.platform.value, "default"): Way(self.outbound, self.can)}
        opened = Ways(lambda _: ways)
        opened._ways = ways
        pace = Pace(store, self.clock)
        showing = self.showing = Showing(
            store, outbox, opened, pace, clock=self.clock, group_of=self.topology.partition_of, time=self.time
        )
        sender = ReplySender(
            store,
            outbox,
            opened,
            pace,
            showing,
            clock=self.clock,
            in_doubt=self.in_doubt,
            give_up=self.give_up,
        )
        return Conversations(
            store,
            cast("Share", AllPartitions(self.topology)),
            self.topology,
            cast("Inputs", Owner(self, self.at_owner)),
            outbox=outbox,
            sender=sender,
            changer=ReplyChanger(store, outbox, opened, pace, clock=self.clock, give_up=self.give_up),
            showing=showing,
            leases=PartitionLeases(store, "test", ttl=LEASE, time=self.time),
            clock=self.clock,
            metrics=self.metrics,
        )

    async def turn(self, worker: Conversations) -> bool:
        """Let a worker do what it can do now; return whether it was killed."""
        await worker.turn()
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("send replies of")]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, Killed) for one in ended if one is not None), ended
        return any(isinstance(one, Killed) for one in ended)

    async def typed(self) -> None:
        """Wait until it was shown that answers are being written, as far as that is to be shown now."""
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "show that an answer is being written"]
        await asyncio.gather(*tasks)

    async def settle(self, *, turns: int = 200) -> int:
        """Let workers send until nothing is due any more, each killed one followed by another; return how many were."""
        worker, killed = self.worker(), 0
        for _ in range(turns):
            if await self.turn(worker):
                killed += 1
                worker = self.worker()
            elif not await self.is_at_work():
                return killed
            self.clock.advance(timedelta(seconds=LEASE / 2))
        raise AssertionError(f"not settled after {turns} turns")

    async def is_at_work(self) -> bool:
        """Whether anything is still to be sent."""
        return bool(await self.store.records.due(RecordKind.OUTBOX, datetime.max.replace(tzinfo=UTC), limit=1))

    async def give(self, conversation: ConversationId, data: InboundMessage | AnyCommand, input_id: str) -> None:
        """Decide an input as its owner does."""
        state = await self.state(conversation)
        events = decide(state, Input(InputId(input_id), data), self.clock.now())
        if not events:
            return
        commit = Commit(
            conversation_id=conversation,
            version=state.version + 1,
            at=self.clock.now(),
            inputs=(InputId(input_id),),
            events=events,
        )
        assert await self.store.log.append([commit]) == [None]
        await self.store.heads.save(heads_after(state, commit))

    async def state(self, conversation: ConversationId) -> SessionState:
        loaded = (await self.store.log.load([conversation]))[conversation]
        return replay(loaded.head or SessionState.empty(conversation), loaded.commits)

    async def ask(self, conversation: ConversationId, *texts: str, to: Address | None = None) -> list[ReplyId]:
        """Have a bot reply, and the outbox hear of it; return the replies."""
        if not (await self.state(conversation)).generation:
            await self.give(conversation, message(1, sent_at=self.clock.now()), f"input-{next(self._numbers)}")
        for text in texts:
            said = OutboundMessage(address=to or self.to, content=TextContent(text=text))
            await self.give(conversation, SendReply(message=said), f"input-{next(self._numbers)}")
        await self.outbox.look_at([conversation])
        return [one.reply_id for one in (await self.state(conversation)).replies[-len(texts) :]]

    async def say(self, conversation: ConversationId, text: str, writing: str) -> None:
        """Have a bot say the reply that it was writing."""
        said = OutboundMessage(address=self.to, content=TextContent(text=text))
        await self.give(conversation, SendReply(message=said), writing)
        await self.outbox.look_at([conversation])

    def tell(self, conversation: ConversationId, text: str = "", writing: str = "w", *, over: bool = False) -> None:
        """Tell the worker what a bot is writing."""
        told = Writing(id=writing, to=self.to, text=text, over=over)
        self.showing.hear(WritingEnvelope(id="told", subject=f"{conversation}.1", partitionkey=conversation, data=told))

    async def events(self, conversation: ConversationId) -> list[AnyEvent]:
        """Return all events of a conversation."""
        commits = await self.store.log.read(conversation, limit=1000)
        return [event for commit in commits for event in commit.events]

    async def told(self, conversation: ConversationId) -> list[str]:
        """Return what was told of replies, in its order."""
        kinds = [event.kind for event in await self.events(conversation)]
        return [kind for kind in kinds if kind.startswith("reply_") and not kind.endswith("_requested")]

    async def sent(self, conversation: ConversationId) -> list[ReplySent]:
        return [event for event in await self.events(conversation) if isinstance(event, ReplySent)]


async def in_doubt(store: Store) -> str:
    """Have a reply of which nobody knows whether it was sent; return its id."""
    world = OutboundWorld(store=store)
    world.at_platform.tell(["died"])
    (reply,) = await world.ask(a_conversation("in doubt"), "one")
    await world.settle()
    return reply
