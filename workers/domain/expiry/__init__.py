"""Expiry rules as pure functions: which hold for a session, since when, and what is to be done about it next."""

from agentbus.workers.domain.expiry.conditions import Condition, condition_named, register_condition
from agentbus.workers.domain.expiry.matching import holds_at, is_for
from agentbus.workers.domain.expiry.next import Later, is_leaving, next_action

__all__ = [
    # what to do
    "next_action",
    "is_leaving",
    "Later",
    # rules
    "holds_at",
    "is_for",
    # conditions of one's own
    "register_condition",
    "condition_named",
    "Condition",
]
