"""Poison: what takes the whole process with it, read or decided, or fails as a fault of ours would."""

import os
import signal
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.events import AnyEvent
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.session import SessionState
from agentbus.workers.domain import decide as domain
from agentbus.workers.session import plan
from tests.chaos.inside.trace import Trace
from tests.harness.failpoints import patch

RAISES: Final = "chaos: raise"
KILLS: Final = "chaos: kill"
KILLS_UNREAD: Final = "chaos: kill whoever reads this"


def poison_decide(trace: Trace) -> None:
    """Make this process fail at poisonous texts."""
    decide = domain.decide

    def poisoned(state: SessionState, given: Input, now: datetime, *others: Any, **more: Any) -> tuple[AnyEvent, ...]:
        match given.data:
            case InboundMessage(content=TextContent(text=text)) if text == RAISES:
                raise RuntimeError("a fault of ours")
            case InboundMessage(content=TextContent(text=text)) if text == KILLS:
                trace.write("died", point="poison")
                os.kill(os.getpid(), signal.SIGKILL)
        return decide(state, given, now, *others, **more)

    patch(plan, decide=poisoned)


def poison_reading(trace: Trace) -> None:
    """Make reading a poisonous body kill this process, as one would that takes all memory."""
    read = InputEnvelope.from_bytes

    def poisoned(body: bytes) -> InputEnvelope:
        if KILLS_UNREAD.encode() in body:
            trace.write("died", point="poison")
            os.kill(os.getpid(), signal.SIGKILL)
        return read(body)

    InputEnvelope.from_bytes = poisoned  # type: ignore[method-assign]  # what is put into this process alone
