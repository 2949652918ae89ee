"""Why something that was delivered could not be done, as it is parked with it."""

import traceback
from dataclasses import dataclass

from agentbus.contracts.errors import AgentBusError


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery was not applied."""

    error: AgentBusError
    stack: str = ""


def failure_of(error: Exception) -> Failure:
    """Return the reason of a parking: an error of ours as it is, a fault of ours with its traceback."""
    return Failure(error) if isinstance(error, AgentBusError) else unforeseen(error)


def unforeseen(error: Exception) -> Failure:
    """Return a fault of ours as the reason of a parking, with its traceback."""
    return Failure(AgentBusError(repr(error)), "".join(traceback.format_exception(error)))
