"""Which rules are for a session, and since when they hold for it."""

from datetime import datetime, timedelta
from typing import Final, assert_never

from agentbus.contracts.expiry import Conditions, ExpiryProgress, ExpiryRule, ExpiryStrategy
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.expiry.conditions import custom_since

_MOMENT: Final = timedelta(seconds=1)


def is_for(rule: ExpiryRule, head: SessionState) -> bool:
    """Whether a session is one of those that an enabled rule is for."""
    asked, profile = rule.conditions, head.profile
    return (
        rule.enabled
        and (not asked.platforms or (head.address is not None and head.address.platform in asked.platforms))
        and (not asked.session_types or profile.session_type in asked.session_types)
        and (not asked.agent_ids or profile.agent_id in asked.agent_ids)
        and (not asked.owners or profile.owner in asked.owners)
        and set(asked.tags) <= set(profile.tags)
    )


def holds_at(rule: ExpiryRule, head: SessionState) -> datetime | None:
    """Return since when, or from when on, a rule's condition holds for a session unless something happens.

    None: it does not as the session is now, or only beyond the calendar. Raises ConfigurationError for a condition of
    one's own that is unknown or fails.
    """
    asked = rule.conditions
    match rule.strategy:
        case ExpiryStrategy.TIME | ExpiryStrategy.ACTIVITY | ExpiryStrategy.USAGE:
            (since,) = _moments(asked, head)
            return since
        case ExpiryStrategy.HYBRID:
            return _combined(asked, head)
        case ExpiryStrategy.CUSTOM:
            return custom_since(asked.custom or "", head)
        case _:
            assert_never(rule.strategy)


def lasts_from(rule: ExpiryRule, head: SessionState, step: ExpiryProgress) -> datetime | None:
    """Return since when, or from when on, a rule's condition holds whatever is done in a session; None: activity ends
    that, or puts it off.

    Such is its age, and how many messages it has: if it had too many at an earlier `step`, it has since then.
    Raises ConfigurationError as `holds_at` does.
    """
    asked = rule.conditions
    if rule.strategy is ExpiryStrategy.CUSTOM:
        later = (head.last_activity or step.at) + _MOMENT
        since = holds_at(rule, head)
        return since if since == holds_at(rule, head.model_copy(update={"last_activity": later})) else None
    moments: list[datetime | None] = []
    if asked.max_age is not None:
        moments.append(head.created_at and moved(head.created_at, asked.max_age))
    if asked.max_messages is not None:
        moments.append(step.at if step.messages >= asked.max_messages else None)
    any_of = asked.match == "any" and rule.strategy is ExpiryStrategy.HYBRID
    holding = [moment for moment in moments if moment is not None]
    if any_of:
        return min(holding, default=None)
    return max(holding) if holding and asked.idle_for is None and len(holding) == len(moments) else None


def _moments(asked: Conditions, head: SessionState) -> list[datetime | None]:
    """Return, for each of the conditions that are set, since when it holds."""
    moments: list[datetime | None] = []
    if asked.max_age is not None:
        moments.append(head.created_at and moved(head.created_at, asked.max_age))
    if asked.idle_for is not None:
        moments.append(head.last_activity and moved(head.last_activity, asked.idle_for))
    if asked.max_messages is not None:
        moments.append(head.last_activity if head.message_count >= asked.max_messages else None)
    return moments


def _combined(asked: Conditions, head: SessionState) -> datetime | None:
    moments = _moments(asked, head)
    holding = [moment for moment in moments if moment is not None]
    if asked.match == "any":
        return min(holding, default=None)
    return max(holding) if len(holding) == len(moments) else None


def moved(moment: datetime, seconds: float) -> datetime | None:
    """Return the moment `seconds` after `moment`, to the millisecond; None beyond the years 1 to 9999: never."""
    try:
        return moment + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError:
        return None
