"""Setting a conversation going again: what was parked of it is published in the order in which its owner takes it."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Final
from uuid import uuid4

from agentbus.contracts.address import Scope
from agentbus.contracts.commands import UnblockSession
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import AgentBusError, InvalidInput
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.operators import Operator
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.contracts.session import SessionState
from agentbus.operations.parked import get_parked, publish_again
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.evolve import replay
from agentbus.workers.domain.line import line_of
from agentbus.workers.domain.redaction import digest_input

PATIENCE: Final = 60.0
"""Seconds in which a blocked conversation has to get through all that waits."""

_LOOK_AGAIN: Final = (0.005, 0.2)
"""Seconds between two looks at what the conversation still waits for: after something moved, and doubled up to this.
Short, as it goes on only once nothing waits, and every message that comes in between waits as well."""

Progress = Callable[[int, int], None]
"""Told how many inputs were published so far, and how many the conversation waits for."""


class StillBlocked(AgentBusError):
    """The conversation still waits for a parked input."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a replay."""

    published: int
    """Inputs published again."""
    waits_for: InputId | None = None
    """What the conversation still waits for; None if it goes on."""
    reason: str = ""
    """Why it still waits."""

    def check(self) -> None:
        """Raise StillBlocked unless the conversation goes on."""
        if self.waits_for:
            raise StillBlocked(f"the conversation still waits for input {self.waits_for}: {self.reason}")


async def replay_conversation(
    bus: Bus,
    store: Store,
    conversation: ConversationId,
    *,
    scope: Scope,
    within: float = PATIENCE,
    progress: Progress | None = None,
    by: Operator | None = None,
) -> Replayed:
    """Publish all that waits of a conversation again, in its order, and return once nothing blocks it any more.

    Its owner remembers the order and takes one after the other; what comes meanwhile is parked behind them, and is
    published again as well. A discarded one is passed over. It ends where an input fails once more, or after `within`
    seconds: call it again. What is parked of a conversation that is not blocked is published in the order of parking.

    Raises as `replay_parked` does.
    """
    return await _Replay(bus, store, conversation, scope=scope, progress=progress, by=by).run(within)


class _Replay:
    """One replay of one conversation."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        conversation: ConversationId,
        *,
        scope: Scope,
        progress: Progress | None,
        by: Operator | None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._conversation = conversation
        self._scope = scope
        self._progress = progress
        self._by = by
        self._sent: dict[InputId, ParkedId] = {}
        self._published = 0

    async def run(self, within: float) -> Replayed:
        end, pause, seen = monotonic() + within, _LOOK_AGAIN[0], tuple[InputId, ...]()
        while line := line_of(await self._state()):
            if await self._publish_in_line(line) and self._progress:
                self._progress(self._published, len(line))
            if failed := await self._failed_again(line[0]):
                return Replayed(self._published, line[0], f"it failed again: {failed.reason}")
            if monotonic() > end:
                return Replayed(self._published, line[0], self._what_is_late(line[0], within))
            pause = min(2 * pause, _LOOK_AGAIN[1]) if line == seen else _LOOK_AGAIN[0]
            seen = line
            await asyncio.sleep(pause)
        await self._publish_the_rest()
        return Replayed(self._published)

    async def _state(self) -> SessionState:
        kept = (await self._store.log.load([self._conversation]))[self._conversation]
        return replay(kept.head or SessionState.empty(self._conversation), kept.commits)

    async def _publish_in_line(self, line: Collection[InputId]) -> bool:
        """Publish what was not published yet, up to the first that is not recorded yet; return if there was any."""
        before = self._published
        left = [one for one in line if one not in self._sent]
        found = await self._records_of(left) if left else {}
        for input_id in left:
            if (parked := found.get(input_id)) is None:
                break
            if parked.status is ParkedStatus.DISCARDED:
                await self._pass_over(input_id)
            else:
                await publish_again(self._bus, self._store, parked, scope=self._scope)
            self._sent[input_id] = parked.parked_id
            self._published += 1
        return self._published > before

    async def _pass_over(self, input_id: InputId) -> None:
        command = UnblockSession(input=input_id)
        envelope = InputEnvelope(
            id=uuid4().hex, source="/agentbus/parked", partitionkey=self._conversation, data=command
        )
        inputs = Inputs(self._bus, scope=self._scope, by=self._by)
        with inputs.on_their_way([envelope]) as left:
            await inputs.publish(left)

    async def _records_of(self, wanted: Collection[InputId]) -> dict[InputId, ParkedInput]:
        """Return what is recorded of inputs: of one that was corrected, or parked again, the latest."""
        missing, found = set(wanted), dict[InputId, ParkedInput]()
        async for parked in iter_parked(self._store, conversation=self._conversation):
            for form in await self._forms(parked):
                if form in missing or (form in found and found[form].status is ParkedStatus.DISCARDED):
                    found[form] = parked
                    if parked.status is not ParkedStatus.DISCARDED:
                        missing.discard(form)
            if not missing:
                break
        return found

    async def _forms(self, parked: ParkedInput) -> tuple[InputId, ...]:
        """Return the ids by which the conversation may remember an input."""
        try:
            if parked.size > len(parked.body):
                parked = await get_parked(self._store, parked.parked_id)
            input_id = InputEnvelope.from_bytes(parked.body).input_id
        except InvalidInput:
            return ()
        return input_id, digest_input(input_id)

    async def _failed_again(self, first: InputId) -> ParkedInput | None:
        if first not in self._sent:
            return None
        parked = await self._store.parked.get(self._sent[first])
        return parked if parked and parked.status is ParkedStatus.PARKED else None

    def _what_is_late(self, first: InputId, within: float) -> str:
        if first in self._sent:
            return f"{within:g} s are over: does a session worker run, or do more come all the time? Replay it again"
        return "it is not among the parked inputs: is a worker recording them? If it is gone, unblock the session"

    async def _publish_the_rest(self) -> None:
        """Publish what has no place in line: the conversation was not blocked, or the line was full."""
        waiting = [one async for one in iter_parked(self._store, ParkedStatus.PARKED, conversation=self._conversation)]
        for listed in sorted(waiting, key=lambda one: one.position):
            await publish_again(self._bus, self._store, listed, scope=self._scope)
            self._published += 1
