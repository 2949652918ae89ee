"""How a session worker is set up."""

from dataclasses import dataclass

from agentbus.contracts.address import Scope
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import FailurePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWorkerConfig:
    """How much a session worker takes on, and how it lives with others."""

    scope: Scope = Scope.PER_CHAT_USER
    prefetch: int = 100
    """Unacknowledged inputs per partition. A crash counts a delivery for each of them."""
    max_live: int = 10_000
    """Conversations whose state is held in memory."""
    max_turns: int = 200
    """Conversations committed together in one round."""
    background_turns: int = 100
    """Those in a round of background: what people send is beside it, and shares the processor with it meanwhile."""
    few_turns: int = 2
    """Conversations under way below which another round begins at once: while there is little to do none waits."""
    max_rounds: int = 2
    """Rounds under way at a time once there is much to do: one is decided while another waits for the store. As many
    beside them are of background."""
    enough_turns: int = 40
    """Conversations that must be ready then for a round beside another: small ones cost the time that they save."""
    beat: float = 1.0
    """Seconds between heartbeats."""
    ttl: float = 4.0
    """Seconds of silence after which a worker is taken for dead."""
    stall_limit: float = 10.0
    """Seconds for which the event loop may stand still before everything in hand is dropped."""
    on_failure: FailurePolicy = FailurePolicy.SKIP
    """What an input that failed for good means for its conversation, unless the session's metadata says otherwise."""
    park_limit: int = 100
    """Inputs parked in a row, by no fault of theirs, after which a partition is stopped for a while."""
    secret_keys: tuple[str, ...] = SECRET_KEYS
    """Keys of data and metadata whose values are left out of the announced events."""
    resets: tuple[ResetPolicy, ...] = ()
    """When conversations begin anew; the first policy for a message decides. None given: never."""
    command_users: tuple[str, ...] = ()
    """Broker users whose commands and queries are taken; none given: those of all who may publish to a partition."""
    embedded: bool = False
    """The only worker of its bus, an in-process one. Other processes may write to the same store, each over a bus of
    its own: no partition is shared with them, and what keeps two writers apart is the log alone. A state in memory is
    decided by as long as the log tells whether it still holds; what would leave no commit is decided by one read anew.
    """
