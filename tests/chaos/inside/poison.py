"""Poison: texts at which deciding fails, as a fault of ours would, or takes the whole process with it."""

import os
import signal
from datetime import datetime
from typing import Any, Final

from contracts.events import AnyEvent
from contracts.messages import InboundMessage, TextContent
from contracts.session import SessionState
from tests.chaos.inside.trace import Trace
from workers.domain import decide as domain
from workers.domain.decide import Input
from workers.session import plan

RAISES: Final = "chaos: raise"
KILLS: Final = "chaos: kill"


def poison_decide(trace: Trace) -> None:
    """Make this process fail at poisonous texts."""
    decide = domain.decide

    def poisoned(state: SessionState, given: Input, now: datetime, *others: Any) -> tuple[AnyEvent, ...]:
        match given.data:
            case InboundMessage(content=TextContent(text=text)) if text == RAISES:
                raise RuntimeError("a fault of ours")
            case InboundMessage(content=TextContent(text=text)) if text == KILLS:
                trace.write("died", point="poison")
                os.kill(os.getpid(), signal.SIGKILL)
        return decide(state, given, now, *others)

    plan.__dict__["decide"] = poisoned
