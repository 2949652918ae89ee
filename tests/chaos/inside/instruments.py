"""A worker's store and bus with failpoints and delays around their calls."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentbus.contracts.errors import BusError
from agentbus.contracts.events import Commit
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.session.committer import Committer
from agentbus.workers.session.lanes import Lanes, Turn
from tests.chaos.inside.failpoints import Failpoint
from tests.chaos.inside.trace import Trace
from tests.harness.failpoints import Failpoints, patch


def of_this_process() -> tuple[Trace, Failpoints[Failpoint]]:
    """Return the trace of a process that was started on trial, and its failpoints: its death goes into the trace."""
    trace = Trace(Path(os.environ["HARNESS_FOLDER"]) / f"{os.environ['HARNESS_WORKER']}.trace")
    return trace, Failpoints[Failpoint].of_this_process(lambda point: trace.write("died", point=point))


def instrument_store(store: Store, points: Failpoints[Failpoint], trace: Trace, *, append_delay: float) -> Store:
    """Put failpoints and a delay around appending to `store`; epochs go into the trace."""
    commit = store.log.commit

    async def instrumented(commits: Sequence[Commit], heads: Sequence[SessionState]) -> Any:
        points.pass_by(Failpoint.BEFORE_APPEND)
        await asyncio.sleep(append_delay)
        trace.write("append", epochs={commit.conversation_id: commit.epoch for commit in commits})
        outcomes = await commit(commits, heads)
        points.pass_by(Failpoint.AFTER_APPEND)
        return outcomes

    flush = store.heads.flush

    async def flushed(heads: Sequence[SessionState]) -> None:
        points.pass_by(Failpoint.BEFORE_FLUSH)
        await flush(heads)
        points.pass_by(Failpoint.AFTER_FLUSH)

    patch(store.log, commit=instrumented)
    patch(store.heads, flush=flushed)
    return store


def instrument_bus(bus: Bus, points: Failpoints[Failpoint]) -> Bus:
    """Put failpoints around the announcing of events on `bus`."""
    publish_many = bus.publish_many

    async def instrumented(
        exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        if exchange == bus.topology.events:
            points.pass_by(Failpoint.AFTER_HEAD)
        outcomes = await publish_many(exchange, messages, mandatory=mandatory)
        if exchange == bus.topology.events:
            points.pass_by(Failpoint.AFTER_PUBLISH)
        return outcomes

    patch(bus, publish_many=instrumented)
    return bus


def trace_rounds(trace: Trace) -> None:
    """Write when this process begins and ends to work on conversations."""
    carry_out = Committer.carry_out
    rounds = iter(range(1, 1_000_000_000))

    async def traced(self: Committer, turns: Sequence[Turn], announced: Callable[[], None]) -> None:
        number = next(rounds)
        trace.write("begin", round=number, conversations=[turn.lane.conversation for turn in turns])

        def over() -> None:
            trace.write("end", round=number)
            announced()

        await carry_out(self, turns, over)

    patch(Committer, carry_out=traced)


def limit_turns(max_inputs: int) -> None:
    """Let a conversation's turn take fewer inputs than it otherwise would."""
    init = Lanes.__init__

    def limited(self: Lanes) -> None:
        init(self, max_inputs=max_inputs)

    patch(Lanes, __init__=limited)
