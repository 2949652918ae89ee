"""The conversations that have replies to send: one after the other in each, and many conversations side by side."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ReportReply
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import ConversationId, InputId, Partition, digest_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.replies import OutgoingReply, ReplyOutcome, ReplyState
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.domain.replies import waiting_replies
from agentbus.workers.faults import told
from agentbus.workers.outbound.amending import ReplyChanger
from agentbus.workers.outbound.leases import PartitionLeases
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.sending import Later, LeaseLost, Over, ReplySender
from agentbus.workers.outbound.showing import Showing
from agentbus.workers.reactive.time_loop import Share

MOST: Final = 64
"""Conversations in which replies are sent at a time."""
MOST_SHOWN: Final = 16
"""Of these, those in which a reply is shown that is being written: what is to be sent does not wait for them."""
BATCH: Final = 500
"""Conversations that are looked for at a time."""
GRACE: Final = 12.0
"""Seconds that sends under way may take to come to their end when this is closed: more than one takes."""

_FAULT_PAUSE: Final = timedelta(seconds=60)
"""How long a conversation waits that can't be read, or for which sending failed unexpectedly."""

_log = Logger(__name__)


class Conversations:
    """Sends what is due in this instance's partitions, each under its partition's lease."""

    def __init__(
        self,
        store: Store,
        share: Share,
        topology: Topology,
        commands: Inputs,
        *,
        outbox: Outbox,
        sender: ReplySender,
        changer: ReplyChanger,
        showing: Showing,
        leases: PartitionLeases,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._store = store
        self._share = share
        self._topology = topology
        self._outbox = outbox
        self._sender = sender
        self._changer = changer
        self._showing = showing
        self._leases = leases
        self._commands = commands
        self._clock = clock
        self._metrics = metrics
        self._in_hand: dict[ConversationId, asyncio.Task[None]] = {}
        self._again: set[ConversationId] = set()
        self._shown: set[ConversationId] = set()
        self._closing = False

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions in which something is being sent, and those that are this instance's."""
        return self._share.partitions.union(self._of(one) for one in self._in_hand)

    def open(self) -> None:
        """Begin again, should it have been closed."""
        self._closing = False

    async def turn(self) -> bool:
        """Begin what is due, as far as there is room; return whether there is more that could be begun."""
        groups = self._share.groups
        room = MOST - len(self._in_hand)
        if (groups is not None and not groups) or room <= 0:
            return False
        records = await self._store.records.due(RecordKind.OUTBOX, self._clock.now(), groups=groups, limit=BATCH)
        for record in records:
            self._outbox.heard_of(record)
        due = [ConversationId(record.key) for record in records]
        waiting = [one for one in due if one not in self._in_hand and not self._leases.is_others(self._of(one))]
        for conversation in waiting[:room]:
            self._begin(conversation)
        await self._show(groups)
        return False

    async def _show(self, groups: Collection[str] | None) -> None:
        """Show replies that are being written, as far as replies that are to be sent leave room."""
        self._showing.type()
        left = await self._showing.left(groups)
        for conversation in (*self._showing.due(self._share.partitions), *left):
            free = conversation not in self._in_hand and not self._leases.is_others(self._of(conversation))
            if free and len(self._in_hand) < MOST and len(self._shown) < MOST_SHOWN:
                self._begin(conversation, sends=False)

    def poke(self, conversation: ConversationId) -> None:
        """Begin with a conversation at once, if it is in this instance's partitions and there is room."""
        if self._of(conversation) not in self._share.partitions:
            return
        if conversation in self._in_hand:
            self._again.add(conversation)
        elif len(self._in_hand) < MOST:
            self._begin(conversation)

    async def close(self) -> None:
        """Let sends under way come to an end for some seconds, and stop. Idempotent.

        What is cut short is gone on with by whoever looks next, from the note of how far it was.
        """
        self._closing = True
        tasks = list(self._in_hand.values())
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=GRACE)
        finally:
            await ended(tasks)

    def _of(self, conversation: ConversationId) -> Partition:
        return self._topology.partition_of(conversation)

    def _begin(self, conversation: ConversationId, *, sends: bool = True) -> None:
        if not self._closing:
            task = asyncio.create_task(self._work(conversation, sends), name=f"send replies of {conversation}")
            self._in_hand[conversation] = task
            if not sends:
                self._shown.add(conversation)

    async def _work(self, conversation: ConversationId, sends: bool) -> None:
        partition = self._of(conversation)
        try:
            if await keep_trying("take a lease", self._leases.hold, partition):
                if sends:
                    await self._send_all(conversation, partition)
                else:
                    held = partial(self._leases.holds, partition)
                    show = partial(self._showing.show, share=self._part(), held=held)
                    await keep_trying("show a reply", show, conversation)
        except LeaseLost:
            pass  # Whoever has it goes on.
        except Exception as error:
            raise_if_cancelled()
            _log.error(Action.SENDING_FAILED, conversation_id=conversation, **told(error))
            if sends:
                await self._put_off(conversation)
            else:
                await self._showing.drop(conversation)
        finally:
            self._in_hand.pop(conversation, None)
            self._shown.discard(conversation)
            if conversation in self._again:
                self._again.discard(conversation)
                self._begin(conversation)

    async def _send_all(self, conversation: ConversationId, partition: Partition) -> None:
        """Send a conversation's replies in their order, until there are none, or the next one has to wait."""
        while not self._closing:
            state = await keep_trying("read a conversation", self._outbox.state_of, conversation)
            waiting = waiting_replies(state)
            if not waiting:
                await keep_trying("note what was sent", self._outbox.done, state)
                return
            reply = waiting[0]
            with traces().sending(str(reply.platform), self._outbox.cause_of(reply.reply_id)):
                result = await keep_trying("send a reply", self._go_on, conversation, reply, partition)
                if isinstance(result, Later):
                    await keep_trying("note when to go on", self._put, state, result)
                    return
                await self._report(state, reply, result)

    async def _go_on(self, conversation: ConversationId, reply: OutgoingReply, partition: Partition) -> Over | Later:
        if not await self._leases.hold(partition):
            raise LeaseLost
        held = partial(self._leases.holds, partition)
        if reply.state is ReplyState.CHANGED:
            return await self._changer.change(conversation, reply, share=self._part(), held=held)
        return await self._sender.send(conversation, reply, share=self._part(), held=held)

    def _part(self) -> float:
        """Return which part of all budgets is this instance's."""
        return max(len(self._share.partitions), 1) / self._topology.partitions

    async def _put(self, state: SessionState, later: Later) -> None:
        await self._outbox.put([state], at=later.at)

    async def _report(self, state: SessionState, reply: OutgoingReply, over: Over) -> None:
        """Tell the conversation's owner what became of a reply, until it has heard."""
        if over.outcome is ReplyOutcome.UNKNOWN:
            # Before it is told: else nobody would find it, should this process end in between.
            await keep_trying("list a reply in doubt", self._outbox.ask_somebody, reply, over.reason)
            _log.warning(Action.REPLY_IN_DOUBT, reply=reply.reply_id, reason=over.reason)
        command = ReportReply(
            reply=reply.reply_id,
            outcome=over.outcome,
            message_ids=over.message_ids,
            reason=over.reason,
            maybe_doubled=over.maybe_doubled,
            seen=_seen(state, reply, over),
        )
        given = Input(InputId(digest_of(("report", reply.reply_id, over.outcome, str(state.version)))), command)
        await keep_trying("report a reply", self._commands.ask, given, to=state.conversation_id)
        self._metrics.replies.labels(over.outcome).inc()
        if over.outcome is ReplyOutcome.SENT:
            self._metrics.reply_seconds.observe(max(0.0, (self._clock.now() - reply.at).total_seconds()))
        if over.outcome is not ReplyOutcome.UNKNOWN:
            await keep_trying("note what was sent", self._outbox.forget, reply.reply_id)

    async def _put_off(self, conversation: ConversationId) -> None:
        """Look at a conversation again in a while."""
        record = await keep_trying("put off a conversation", self._store.records.get, RecordKind.OUTBOX, conversation)
        if record:
            later = record.model_copy(update={"due_at": self._clock.now() + _FAULT_PAUSE})
            await keep_trying("put off a conversation", self._store.records.put_many, [later])


def _seen(state: SessionState, reply: OutgoingReply, over: Over) -> int | None:
    """Return up to which version the platform shows what a reply says; None if it never said anything else."""
    if reply.changed_at is None:
        return None
    whole = over.at_once or over.outcome is not ReplyOutcome.SENT
    return state.version if whole else reply.version
