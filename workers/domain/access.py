"""Access: who may see a session, who may change it, who decides about it."""

from enum import IntEnum
from typing import Final

from agentbus.contracts.profile import Permission, Profile, Visibility
from agentbus.contracts.session import SessionState

DENIED: Final = "no such session, or no access to it"
"""The same words for both, so that a refusal does not tell whether the session exists."""


class Right(IntEnum):
    """What someone may do with a session; a higher right includes the lower ones."""

    NONE = 0
    READ = 1
    WRITE = 2
    OWN = 3


def right_of(profile: Profile, user: str) -> Right:
    """Return what `user` may do with a session that has this profile."""
    if profile.owner == user:
        return Right.OWN
    match profile.shares.get(user):
        case Permission.WRITE:
            return Right.WRITE
        case Permission.READ:
            return Right.READ
    return Right.READ if profile.visibility is Visibility.PUBLIC else Right.NONE


def may(state: SessionState, user: str | None, right: Right) -> bool:
    """Whether `user` has at least `right` on a session; None is AgentBus itself, which may do everything."""
    return user is None or right_of(state.profile, user) >= right
