"""A short run of `make stress` for every test run, with the same users and calls each time."""

from pathlib import Path

from tests.stress.run import run_stress
from tests.stress.world import Plan

_PLAN = Plan(seconds=8, users=48, sessions=8, seed=20260101)


async def test_nothing_confirmed_is_lost_and_no_access_rule_broken(
    amqp_url: str, mongo_url: str, tmp_path: Path
) -> None:
    report = await run_stress(_PLAN, amqp_url, mongo_url, tmp_path, lambda _: None)
    assert report.good, report.ledger.broken
    done = {call.kind for call in report.ledger.calls if call.answer == "done"}
    refused = {call.kind for call in report.ledger.calls if call.answer == "access_denied"}
    assert {"add_message", "update_session", "share_session", "save_checkpoint", "acquire_lock"} <= done
    assert {"add_message", "update_session", "get_session", "share_session", "save_checkpoint"} <= refused
    assert report.ledger.over_the_kill()
