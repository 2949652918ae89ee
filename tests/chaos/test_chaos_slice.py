"""A slice of `make chaos` for every test run: some faults, one seed, and a mutant that has to be caught."""

import pytest

from tests.chaos.campaign import Result, run_campaign
from tests.chaos.faults import fault_named
from tests.chaos.inside.mutants import Mutant
from tests.chaos.mutation import try_mutant
from tests.harness.sampling import sampled
from tests.harness.system.backends import Services

_SEED = 20260101


def assert_held(result: Result) -> None:
    assert result.good, f"{result.words()}; evidence in {result.folder}"
    assert result.verdict.messages > 0


@sampled("name", "repeats", each=4)
@pytest.mark.parametrize(
    ("name", "repeats"),
    [("kill_after_append", 1), ("sigterm_rolling_restart", 1), ("sigstop", 1), ("broker_kill", 1)],
)
async def test_a_fault_loses_doubles_and_reorders_nothing(private_services: Services, name: str, repeats: int) -> None:
    assert_held(await run_campaign(private_services, fault_named(name), repeats=repeats, seed=_SEED))


async def test_a_worker_that_acknowledges_too_early_is_caught(private_services: Services) -> None:
    trial = await try_mutant(private_services, Mutant.ACK_LAST, seed=_SEED)
    assert trial.violated == ("announced",)
