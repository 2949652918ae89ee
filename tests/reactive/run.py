"""Running one trial."""

import time
from typing import TypeVar

from tests.harness.system.backends import Services
from tests.reactive.system.stage import Say, stage
from tests.reactive.trial import Result, Trial

Size = TypeVar("Size")


async def run_trial(services: Services, trial: Trial[Size], size: Size, *, seed: int, say: Say) -> Result:
    """Run a trial on a stage of its own; what ends it early is a problem like any other: the next one still runs."""
    result = Result(trial.name)
    begun = time.monotonic()

    def tell(words: str) -> None:
        say(f"{trial.name}: {words}")

    try:
        async with stage(
            services, trial.name, seed, say=tell, keep=lambda: not result.good, record=trial.record
        ) as built:
            await trial.run(built, size, result)
    except Exception as error:
        result.problems.append(f"the trial failed: {error!r}")
    result.seconds = time.monotonic() - begun
    return result
