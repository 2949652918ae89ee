"""What a session manager goes by."""

from dataclasses import dataclass
from typing import Final

from agentbus.sessions.model.types import LimitPolicy

MAX_HISTORY: Final = 50
IDLE_TIMEOUT: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerOptions:
    """Settings of a session manager; a session's own, given when it is created, go before them."""

    max_history: int = MAX_HISTORY
    """Messages that are read with a session."""
    idle_timeout: float | None = IDLE_TIMEOUT
    """Seconds without activity after which a session is idle; None: never."""
    time_to_live: float | None = None
    """Seconds from a session's creation or refresh to its end; None: it has none."""
    max_sessions_per_user: int | None = None
    """Live sessions that a user may have; None: any number."""
    on_limit: LimitPolicy = LimitPolicy.REFUSE
    """What happens when a user has that many."""
    checkpoint_every: int | None = None
    """Messages after which a checkpoint is saved by itself; None: never."""
