"""A slice of the benchmark of the HTTP API: that it counts right. How fast it is is for `make bench-api` to say."""

from pathlib import Path

import pytest

from tests.benchmarks.api.__main__ import commits_table, lists_table
from tests.benchmarks.api.commits import measure_commits
from tests.benchmarks.api.lists import LISTS, Stage, measure_lists
from tests.benchmarks.api.sizes import SLICE
from tests.services import RabbitMQ


@pytest.mark.parametrize("encrypted", [False, True])
async def test_each_list_has_all_that_there_is(encrypted: bool, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    stage = Stage(kind="sqlite", encrypted=encrypted)

    found = await measure_lists(stage, rabbitmq, SLICE, tmp_path)

    assert found.keys() == LISTS.keys()
    assert all(0 < one["p50"] <= one["p99"] for one in found.values())
    assert lists_table({stage.name: found}).row_count == 1


async def test_a_message_is_committed_whichever_way_it_goes(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    found = await measure_commits(rabbitmq, SLICE, tmp_path)

    assert found.keys() == {"amqp", "http"}
    assert all(0 < one["p50"] <= one["p99"] for one in found.values())
    assert commits_table(found).row_count == 2
