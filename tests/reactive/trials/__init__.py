"""The trials, in the order in which they run."""

from typing import Any, Final

from tests.reactive.trial import Trial
from tests.reactive.trials import converge, count_once, expire_once, lag, races, rate

TRIALS: Final[tuple[Trial[Any], ...]] = (
    converge.TRIAL,
    expire_once.TRIAL,
    count_once.TRIAL,
    races.TRIAL,
    lag.TRIAL,
    rate.TRIAL,
)
"""All of them."""
