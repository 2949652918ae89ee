"""Workers and partitions: who is at work, whose each partition is, and which are nobody's."""

import pytest

from agentbus.composition.app import App
from agentbus.contracts.members import Member, WorkerKind
from tests.harness.builders import a_member
from tests.harness.dashboard import a_desk


async def test_partitions_have_owners_or_say_that_they_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        assert "Everything runs in this one process" in (await desk.get("/workers")).text
        monkeypatch.setattr(App, "alone", False)  # as over RabbitMQ
        group = WorkerKind.SESSION.group(desk.app.settings.bus.prefix)
        for name, owns in (("one", [0, 1]), ("two", [2])):
            await desk.app.store.members.heartbeat(group, behind(f"{name}-1-aaaa", owns, name), ttl=60.0)
        page = (await desk.get("/workers")).text
        assert "1 of 4 partitions have no owner" in page
        assert "one-1-aaaa" in page
        assert page.count('<li class="none">') == 1
        overview = (await desk.get("/")).text
        assert "1 of 4 partitions have no owner" in overview
        assert "one, two" in overview
        assert "1.25 min" in overview
        assert "commit lag 0.25 s" in overview


def behind(name: str, owns: list[int], host: str) -> Member:
    """Return a member that tells how far it is behind; the worst of them counts."""
    figures = {"behind": 75.0, "commit_lag": 0.25} if host == "one" else {"behind": 1.0}
    return a_member(name, owns=owns, host=host).model_copy(update=figures)


async def test_a_partition_is_handed_to_another_once_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        assert "Everything runs in this one process" in (await desk.get("/partitions/0")).text
        monkeypatch.setattr(App, "alone", False)  # as over RabbitMQ
        for name, owns in (("one", [0, 1]), ("two", [2, 3])):
            await desk.app.store.members.heartbeat("agentbus", a_member(f"{name}-1-aaaa", owns=owns), ttl=60.0)
        page = (await desk.get("/partitions/0")).text
        assert '<option value="two-1-aaaa">' in page
        assert '<option value="one-1-aaaa">' not in page
        answer = await desk.post("/partitions/0/hand-back", to="two-1-aaaa")
        assert await desk.said_after(answer) == "Partition 0 goes from one-1-aaaa to two-1-aaaa."
        page = (await desk.get("/partitions/0")).text
        assert "on its way" in page
        assert (await desk.get("/workers")).text.count('<li class="moved">') == 1
        gone = await desk.post("/partitions/0/hand-back", to="three-1-aaaa")
        assert (gone.status_code, "no session worker three-1-aaaa" in gone.text) == (404, True)
        for named in ("4", "-1", "x", "9" * 100, "²"):
            assert (await desk.get(f"/partitions/{named}")).status_code == 404, named
        await desk.app.store.members.leave("agentbus", a_member("two-1-aaaa").worker_id)
        page = (await desk.get("/partitions/0")).text
        assert "No other session worker is at work" in page
        assert "<select" not in page
