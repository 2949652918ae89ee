"""Workers and partitions: who is at work, whose each partition is, and which are nobody's."""

import pytest

from agentbus.composition.app import App
from agentbus.contracts.members import WorkerKind
from tests.harness.builders import a_member
from tests.harness.dashboard import a_desk


async def test_partitions_have_owners_or_say_that_they_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        assert "Everything runs in this one process" in (await desk.get("/workers")).text
        monkeypatch.setattr(App, "alone", False)  # as over RabbitMQ
        group = WorkerKind.SESSION.group(desk.app.settings.bus.prefix)
        for name, owns in (("one", [0, 1]), ("two", [2])):
            await desk.app.store.members.heartbeat(group, a_member(f"{name}-1-aaaa", owns=owns, host=name), ttl=60.0)
        page = (await desk.get("/workers")).text
        assert "1 of 4 partitions have no owner" in page
        assert "one-1-aaaa" in page
        assert page.count('<li class="none">') == 1
        overview = (await desk.get("/")).text
        assert "1 of 4 partitions have no owner" in overview
        assert "one, two" in overview
