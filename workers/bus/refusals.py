"""What becomes of a delivery that its consumer's callback fails with: on every bus the same, and said."""

from enum import StrEnum
from typing import Final

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.outages import sparingly

_LONGEST: Final = 300

_log = Logger(__name__)


class Fate(StrEnum):
    """Where it goes. Left in hand it would take a place among those that are unacknowledged, for ever."""

    DEAD_LETTERED = "dead_lettered"
    """To where its queue dead-letters; it is recorded as parked from there."""
    HANDED_BACK = "handed_back"
    """Into its queue again: there is nowhere else to take what is parked."""
    DROPPED = "dropped"
    """A live subscription's: its queue goes with it, so that nothing could be replayed into it."""


def tell_refused(queue: str, error: Exception, fate: Fate) -> None:
    """Say what a callback failed with, and what became of the delivery."""
    if (more := sparingly(Action.DELIVERY_REFUSED, queue)) is not None:
        _log.error(Action.DELIVERY_REFUSED, queue=queue, error=repr(error)[:_LONGEST], fate=fate, **more)
