"""A slice of `make react` for every test run: few sessions, one seed, workers that die."""

from typing import Any

import pytest

from tests.harness.sampling import sampled
from tests.harness.system.backends import Services
from tests.reactive.run import run_trial
from tests.reactive.trial import Result, Trial
from tests.reactive.trials import converge, count_once, expire_once, lag, races, rate

_SEED = 20260101
_LATE = 30.0
"""Seconds: other tests run beside this one."""

SLICE: tuple[tuple[Trial[Any], Any], ...] = (
    (converge.TRIAL, converge.Size(identities=6, rate=8, seconds=3, kill_every=1.5, patience=60)),
    (expire_once.TRIAL, expire_once.Size(chats=9, seconds=4, kill_every=1.5, moves_again=3, patience=60, late=_LATE)),
    (count_once.TRIAL, count_once.Size(chats=6, inputs=8, seconds=3, kill_every=1.0, patience=60)),
    (races.TRIAL, races.Size(races=150, patience=60)),
    (lag.TRIAL, lag.Size(identities=20, rate=8, seconds=2, patience=60)),
    (rate.TRIAL, rate.Size(sessions=200, archived=20, window=2, patience=60)),
)


@pytest.mark.timeout(900)  # a machine that does other things too starts processes slowly
@sampled("trial", "size", each=2)
@pytest.mark.parametrize(("trial", "size"), SLICE, ids=[trial.name for trial, _ in SLICE])
async def test_a_trial_holds(steady_services: Services, trial: Trial[Any], size: Any) -> None:
    told: list[str] = []
    result: Result = await run_trial(steady_services, trial, size, seed=_SEED, say=told.append)
    assert result.good, f"{result.problems}; {result.figures}; {told}"
    assert result.figures
