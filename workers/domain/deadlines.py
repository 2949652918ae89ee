"""What becomes of a session by time alone."""

from datetime import datetime, timedelta

from agentbus.contracts.commands import ExtendSession
from agentbus.contracts.errors import LimitExceeded
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.draft import Draft


def has_expired(state: SessionState, now: datetime) -> bool:
    """Whether a live session's end has come."""
    end = state.profile.expires_at
    return state.is_live and end is not None and end <= now


def goes_on(state: SessionState, now: datetime) -> bool:
    """Whether a session is live, and its end has not come: it may be over before anybody has expired it."""
    return state.is_live and not has_expired(state, now)


def make_idle(draft: Draft, state: SessionState, now: datetime) -> None:
    """Make the session idle if it was silent for long enough."""
    if state.idle_at is not None and state.idle_at <= now:
        draft.move(state, SessionStatus.IDLE, "idle", own=state.state)


def expire(draft: Draft, state: SessionState) -> None:
    """End the session because its time ran out, whoever came by just then."""
    draft.move(state, SessionStatus.EXPIRED, "expired", actor=None)


def extended(profile: Profile, command: ExtendSession, now: datetime) -> Profile:
    """Return `profile` with its end moved."""
    end = command.until
    if command.seconds is not None:
        end = _later(profile.expires_at or now, command.seconds)
    return profile if end is None else profile.model_copy(update={"expires_at": end})


def refreshed(profile: Profile, now: datetime) -> Profile:
    """Return `profile` with its lifetime begun anew, if it has one."""
    if profile.lifetime is None:
        return profile
    return profile.model_copy(update={"expires_at": _later(now, profile.lifetime)})


def lasting(profile: Profile, now: datetime) -> Profile:
    """Return what a reset leaves of a profile: all but its end, which comes by its lifetime anew, if it has one."""
    return refreshed(profile.model_copy(update={"expires_at": None}), now)


def _later(moment: datetime, seconds: float) -> datetime:
    try:
        return moment + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError:
        raise LimitExceeded("a session can't be extended beyond the year 9999") from None
