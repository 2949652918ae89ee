"""Partitions as people write them, and one that goes to another worker."""

import asyncio
import json
from pathlib import Path

import pytest

from agentbus.cli.workers import _ranges
from agentbus.contracts.ids import Partition
from agentbus.storage.factory import open_store
from tests.harness.builders import a_member
from tests.harness.cli import called


@pytest.mark.parametrize(
    ("partitions", "written"),
    [
        ((), ""),
        ((0,), "1: 0"),
        ((3, 4), "2: 3-4"),
        ((0, 2, 4), "3: 0, 2, 4"),
        ((0, 1, 2, 3, 7), "5: 0-3, 7"),
        ((7, 2, 0, 1, 8), "5: 0-2, 7-8"),
        (tuple(range(64)), "64: 0-63"),
    ],
)
def test_partitions_next_to_each_other_are_a_range(partitions: tuple[int, ...], written: str) -> None:
    assert _ranges([Partition(number) for number in partitions]) == written


def test_a_partition_is_handed_to_another(tmp_path: Path) -> None:
    env = {
        "AGENTBUS_STORE_URL": f"file://{tmp_path}/store",
        "AGENTBUS_AMQP_URL": "amqp://nowhere",
        "AGENTBUS_PARTITIONS": "4",
        "AGENTBUS_WORKER_TTL": "600",
    }

    async def at_work() -> None:
        async with open_store(env["AGENTBUS_STORE_URL"]) as store:
            for name, owns in (("w1", [0, 1]), ("w2", [2, 3])):
                await store.members.heartbeat("agentbus", a_member(name, owns=owns), ttl=600)

    asyncio.run(at_work())
    done = called("workers", "hand-back", "0", "--for", "60", env=env)
    assert (done.returncode, done.stdout.startswith("Partition 0 goes from w1 to w2, until 2")) == (0, True)
    asked = json.loads(called("workers", "hand-back", "2", "--to", "w1", "--json", env=env).stdout)
    assert (asked["partition"], asked["owner"], asked["to"]) == (2, "w2", "w1")
    listed = called("workers", "list", env=env)
    assert "Partition 0 goes from w1 to w2" in listed.stderr
    assert "Partition 2 goes from w2 to w1" in listed.stderr
    refused = called("workers", "hand-back", "2", "--to", "w3", env=env)
    assert (refused.returncode, "no session worker w3" in refused.stderr) == (1, True)
