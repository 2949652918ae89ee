"""What is kept of partitions that somebody had handed to another worker, on every store."""

from datetime import timedelta
from pathlib import Path

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import HandBack, WorkerId
from agentbus.contracts.records import RecordKind
from agentbus.storage.factory import open_store
from agentbus.storage.reading import PAGE, iter_records
from agentbus.workers.session.hand_backs import HandBacks
from tests.harness.builders import NOON
from tests.harness.sampling import on_all_servers

SERVERS = ("postgresql_url", "used_mongo_url", "redis_url")
HOUR = timedelta(hours=1)


def a_hand_back(partition: int, *, after: timedelta = timedelta(), to: str = "to") -> HandBack:
    at = NOON + after
    return HandBack(
        partition=Partition(partition), owner=WorkerId("from"), to=WorkerId(to), asked_at=at, until=at + HOUR
    )


@pytest.mark.parametrize(
    "kind", ["memory", "files", "sqlite", *SERVERS, pytest.param("mariadb_url", marks=on_all_servers)]
)
async def test_the_latest_of_each_partition_holds_until_its_end(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    places = {"memory": "memory://", "files": f"file://{tmp_path}/store", "sqlite": f"sqlite:///{tmp_path}/store.db"}
    async with open_store(places.get(kind) or request.getfixturevalue(kind)) as store:
        clock = ManualClock(NOON)
        asked, others = HandBacks(store, "agentbus", clock), HandBacks(store, "agentbus/2", clock)
        assert await asked.current() == []
        many = [a_hand_back(number) for number in range(PAGE + 5)]
        for one in many:
            await asked.ask(one)
        await others.ask(a_hand_back(1, to="elsewhere"))
        assert await asked.current() == many
        later = a_hand_back(1, after=HOUR / 2, to="another")
        old = await store.records.get(RecordKind.HAND_BACK, "agentbus/1")
        await asked.ask(later)
        assert old is not None
        await store.records.drop([old])  # somebody found it over, while it was asked for anew
        assert (await asked.current())[1] == later
        clock.advance(HOUR)
        assert await asked.current() == [later]
        assert [one.key async for one in iter_records(store, RecordKind.HAND_BACK, "agentbus")] == ["agentbus/1"]
        clock.advance(HOUR / 2)
        assert await asked.current() == await others.current() == []
