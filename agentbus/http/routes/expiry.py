"""The rules by which sessions end, and what they did."""

from typing import Annotated

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import MAX_INTEGER, Id, Many, Name
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.profile import Seconds
from agentbus.http.calls import Calls, Given, With, answered
from agentbus.http.shown import Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.expiry import RuleNotFound, add_rules, enable_rule, remove_rule, rule_statistics
from agentbus.operations.expiry import list_rules as all_rules
from agentbus.sessions.model.validation import checking
from agentbus.storage.port import Store

calls = Calls("expiry")

RulePath = Annotated[Id, Path(description="The rule's id.")]


class Rules(Shown):
    """The expiry rules, the highest priority first."""

    items: Many[ExpiryRule]


class RuleShown(ExpiryRule, defer_build=False):
    """An expiry rule."""


class RuleGiven(Given):
    """An expiry rule; the address says its id. What a strategy needs, and what may follow an action, is in its page."""

    name: Name | None = Field(default=None, description="By default its id.")
    strategy: ExpiryStrategy
    conditions: Conditions
    actions: Many[CleanupAction | Step] = Field(min_length=1, max_length=16)
    priority: Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] = 0
    enabled: bool = True
    warn_before: Seconds | None = Field(default=None, description="Seconds before the condition holds: a warning.")


class Switch(Given):
    """Whether a rule is applied."""

    enabled: bool


class RuleFigures(Shown):
    """What the rules did since they were first there."""

    rules: dict[str, dict[str, int]] = Field(description="By rule, then by outcome.")
    total: dict[str, int] = Field(description="By outcome, over all rules.")


@calls.call("GET", "/expiry/rules", Role.READ, answers=Rules)
async def list_rules(parts: With) -> Response:
    """List the rules, the highest priority first."""
    return answered(Rules(items=await all_rules(parts.app.store)))


@calls.call("GET", "/expiry/rules/{rule_id}", Role.READ, answers=RuleShown)
async def get_rule(rule_id: RulePath, parts: With) -> Response:
    """Return a rule."""
    return answered(await _rule(parts.app.store, rule_id))


@calls.call("PUT", "/expiry/rules/{rule_id}", Role.OPERATE, answers=RuleShown)
async def put_rule(rule_id: RulePath, body: RuleGiven, parts: With) -> Response:
    """Add a rule, in place of the one of the same id if there is one."""
    with checking("there can't be such a rule"):
        rule = ExpiryRule.model_validate({"rule_id": rule_id, **body.model_dump(exclude_none=True)})
    await add_rules(parts.app.store, [rule])
    return answered(await _rule(parts.app.store, rule_id))


@calls.call("PATCH", "/expiry/rules/{rule_id}", Role.OPERATE, answers=RuleShown)
async def switch_rule(rule_id: RulePath, body: Switch, parts: With) -> Response:
    """Switch a rule on or off; it stays in the list."""
    await enable_rule(parts.app.store, rule_id, enabled=body.enabled)
    return answered(await _rule(parts.app.store, rule_id))


@calls.call("DELETE", "/expiry/rules/{rule_id}", Role.OPERATE, answers=None, status=204)
async def delete_rule(rule_id: RulePath, parts: With) -> Response:
    """Take a rule away; what it did to sessions stays done."""
    await remove_rule(parts.app.store, rule_id)
    return Response(status_code=204)


@calls.call("GET", "/expiry/statistics", Role.READ, answers=RuleFigures)
async def get_rule_statistics(parts: With) -> Response:
    """Return how often each rule did what, since it was first there."""
    figures = await rule_statistics(parts.app.store)
    return answered(RuleFigures(rules=figures.rules, total=figures.total))


async def _rule(store: Store, rule_id: str) -> ExpiryRule:
    found = next((one for one in await all_rules(store) if one.rule_id == rule_id), None)
    if found is None:
        raise RuleNotFound(f"there is no expiry rule {rule_id!r}")
    return found
