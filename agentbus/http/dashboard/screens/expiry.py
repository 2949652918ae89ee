"""Sessions that end by rules: the rules, what they did, what is due by them now."""

import asyncio
from contextlib import aclosing
from itertools import islice
from typing import Final

from starlette.responses import Response

from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.expiry import (
    OUTCOMES,
    Finding,
    Progress,
    enable_rule,
    list_rules,
    remove_rule,
    rule_statistics,
    sweep,
)

_SHOWN: Final = 100
_SECONDS: Final = 5.0
"""Seconds for which it is looked for what is due."""


async def show(visit: Visit) -> Response:
    """Show the rules, and what is due if that is asked for: all sessions are looked at then."""
    rules = await list_rules(visit.app.store)
    due, looked_at, whole = await _due(visit) if visit.asked("due") else ([], 0, True)
    command = "agentbus expiry run --dry-run" if visit.asked("due") else "agentbus expiry rules list"
    return visit.page(
        "expiry.html",
        title="Expiry",
        same=Same("" if visit.asked("due") else "GET /v1/expiry/rules", command),
        rules=rules,
        statistics=await rule_statistics(visit.app.store),
        outcomes=OUTCOMES,
        asked=bool(visit.asked("due")),
        due=due,
        looked_at=looked_at,
        whole=whole,
    )


async def enable(visit: Visit) -> Response:
    """Switch a rule on or off."""
    rule, on = visit.named("rule"), visit.form.get("enabled") == "yes"
    await enable_rule(visit.app.store, rule, enabled=on)
    return visit.to("/expiry", f"Rule {rule} is {'on' if on else 'off'}.")


async def remove(visit: Visit) -> Response:
    """Take a rule away."""
    rule = visit.named("rule")
    await remove_rule(visit.app.store, rule)
    return visit.to("/expiry", f"Rule {rule} is gone. What it did stays done.")


async def _due(visit: Visit) -> tuple[list[Finding], int, bool]:
    """Return what is due, how many sessions were looked at, and whether those are all."""
    found: list[Finding] = []
    looked_at = 0
    try:
        async with asyncio.timeout(_SECONDS), aclosing(sweep(visit.app, dry_run=True)) as steps:
            async for step in steps:
                if isinstance(step, Progress):
                    looked_at = step.looked_at
                else:
                    found.append(step)
                if len(found) > _SHOWN:
                    break
            else:
                return found, looked_at, True
    except TimeoutError:
        pass
    return list(islice(found, _SHOWN)), looked_at, False


PAGES: Final = (
    Page("GET", "/expiry", show, place=Place("/expiry", "Expiry", "Keep")),
    action("/expiry/{rule}/enable", enable),
    action("/expiry/{rule}/remove", remove),
)
