"""How a backup is restored: what is done about sessions that are there already, and who is asked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.ids import SessionId
from agentbus.contracts.recovery import Outcome, RecoveryStrategy
from agentbus.contracts.session import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A session that is in the store otherwise than in the backup, for somebody to choose."""

    session_id: SessionId
    backup: SessionState
    """As it was."""
    store: SessionState
    """What there is now of its conversation: the session itself, or the latest one."""
    outcomes: Mapping[RecoveryStrategy, Outcome]
    """What would become of it by each strategy."""


Ask = Callable[[Difference], RecoveryStrategy | Awaitable[RecoveryStrategy]]
"""Chooses a strategy for a session: merge, replace or skip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOptions:
    """How a backup is restored. Raises ConfigurationError for a strategy that is none, or interactive without `ask`."""

    strategy: RecoveryStrategy | str = RecoveryStrategy.MERGE
    """What is done about a session that is there already, and differs."""
    preserve_metadata: bool = True
    """Whether what comes back has the metadata, tags and times that it had. Without: messages and data come back
    alone, and a live session counts as active from now on."""
    ask: Ask | None = None
    """Who chooses, with the strategy interactive; a coroutine function too."""

    def __post_init__(self) -> None:
        known = [one.value for one in RecoveryStrategy]
        if str(self.strategy).lower() not in known:
            raise ConfigurationError(f"{self.strategy!r:.40} is no strategy: {', '.join(known)}")
        object.__setattr__(self, "strategy", RecoveryStrategy(str(self.strategy).lower()))
        if self.strategy is RecoveryStrategy.INTERACTIVE and self.ask is None:
            raise ConfigurationError("the strategy interactive needs somebody to ask: give `ask`")

    @property
    def chosen(self) -> RecoveryStrategy:
        """The strategy."""
        return RecoveryStrategy(self.strategy)
