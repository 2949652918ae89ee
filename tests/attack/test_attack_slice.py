"""A slice of `make attack` for every test run: some hundred hostile messages of each kind, from one seed."""

from pathlib import Path

from tests.attack.storm.ledger import Fate
from tests.attack.storm.run import Plan, run_storm
from tests.harness.system.backends import Services

_COUNT = 240


async def test_each_hostile_message_is_accounted_for_and_good_ones_go_on(
    private_services: Services, tmp_path: Path
) -> None:
    plan = Plan(count=_COUNT, rate=400, seed="20260101/storm", partitions=4, workers=1, large_first=0)
    outcome = await run_storm(private_services, plan, tmp_path)
    fates = outcome.ledger.fates
    assert sum(fates.values()) == _COUNT + plan.while_broken
    assert fates[Fate.UNACCOUNTED] == 0, outcome.ledger.examples
    forged = outcome.ledger.kinds["forged command"]
    assert (outcome.ledger.carried_out, forged[Fate.COMMITTED]) == (0, 0), outcome.ledger.examples
    assert forged[Fate.REFUSED] > 0
    assert all(fates[fate] for fate in Fate if fate is not Fate.UNACCOUNTED), "each fate befalls some"
    assert (outcome.good_lost, outcome.violated, outcome.restarts, outcome.left) == (0, [], 0, [])
    assert outcome.good_sent > 0
    assert outcome.log_lines < _COUNT / 2, "a line for each would fill a disk"
    # What the metrics counted is all that was handled: none was handled and not counted, none counted twice.
    assert outcome.counted["recorded"] == outcome.ledger.parkings
