"""Inside one process: what is owed stays so until the durable subscriptions have handled it."""

import asyncio

import pytest

from agentbus.workers.bus.port import Delivery
from agentbus.workers.session import announcer, arrears
from tests.harness.patience import PATIENCE
from tests.unit.workers.session.test_arrears import Store, conversation, refusing, say, system, working


@pytest.fixture
async def settled(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what is set each time that somebody has taken marks away, where there were such."""
    settled, settle = asyncio.Event(), arrears.Arrears._settle_ahead

    async def settling(one: arrears.Arrears) -> None:
        await settle(one)
        settled.set()

    monkeypatch.setattr(arrears.Arrears, "_settle_ahead", settling)
    monkeypatch.setattr(arrears, "SETTLE", 0.0)
    monkeypatch.setattr(arrears, "LATER", 0.01)
    monkeypatch.setattr(announcer, "PATIENCE", 0.05)
    return settled


async def twice(settled: asyncio.Event) -> None:
    """Wait until marks were looked through from here on: what is under way may have begun before."""
    for _ in range(2):
        settled.clear()
        async with asyncio.timeout(PATIENCE):
            await settled.wait()


class Slow:
    """A durable subscription that acknowledges when it is told to."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.taken) < count:
                await asyncio.sleep(0.005)

    async def ack(self) -> None:
        for delivery in self.taken:
            await delivery.ack()


async def test_a_mark_stays_until_every_durable_subscription_has_handled_it(settled: asyncio.Event) -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store, embedded=True) as worker:
        slow, prompt = Slow(), Slow()
        taking = await bus.subscribe(("session.#",), slow.taken.append, durable="slow", prefetch=1)
        await bus.subscribe(("session.#",), prompt.taken.append, durable="prompt")
        worker.announce_owed()
        await say(client, "ada", "a1", "a2")
        await say(client, "bob", "b1")
        await ear.until("ada", "a1", "a2")
        await ear.until("bob", "b1")
        await prompt.until(len(ear.events))
        await prompt.ack()
        await twice(settled)
        assert {mark.data["conversation"] for mark in await store.marks()} == {conversation("ada"), conversation("bob")}

        await taking.close()  # as while it waits to be started again
        await twice(settled)
        assert len(await store.marks()) == 2

        for text in ("a3", "a4"):  # a mark a conversation, however much is not handled
            await say(client, "ada", text)
        await ear.until("ada", "a1", "a2", "a3", "a4")
        await twice(settled)
        assert len(await store.marks()) == store.marked == 2

        slow.taken.clear()
        await bus.subscribe(("session.#",), slow.taken.append, durable="slow", prefetch=1000)
        await slow.until(len(ear.events))
        *most, last = slow.taken
        for delivery in most:
            await delivery.ack()
        await prompt.until(len(ear.events))
        await prompt.ack()
        await twice(settled)
        assert [mark.data["conversation"] for mark in await store.marks()] == [conversation("ada")]
        await last.ack()
        await store.until_settled()


async def test_what_a_dead_process_owed_stays_owed_until_it_was_handled(settled: asyncio.Event) -> None:
    async with Store() as store:
        async with system() as (bus, ear, client), working(bus, store, embedded=True):
            await bus.declare_subscription("slow", ("session.#",))
            await say(client, "ada", "a1")
            await ear.until("ada", "a1")
        [mark] = await store.marks()
        dead = mark.model_copy(update={"key": f"{conversation('ada')}/dead"})
        await store.records.drop([mark])
        await store.records.put_many([dead])
        for handles in (False, True):  # the first that starts again is killed as well before anybody has handled it
            async with system() as (bus, ear, client), working(bus, store, embedded=True) as worker:
                await bus.declare_subscription("slow", ("session.#",))
                worker.announce_owed()
                await ear.until("ada", "a1")
                heard = len(ear.events)
                await twice(settled)
                assert await store.marks() == [dead]
                assert len(ear.events) == heard, "it was announced once more, as it is not handled yet"
                if handles:
                    slow = Slow()
                    await bus.subscribe(("session.#",), slow.taken.append, durable="slow")
                    await slow.until(heard)
                    await slow.ack()
                    await store.until_settled()


async def test_what_is_refused_after_something_that_nobody_handled_is_marked_from_that_on(
    settled: asyncio.Event,
) -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store, embedded=True) as worker:
        await bus.declare_subscription("slow", ("session.#",))
        worker.announce_owed()
        await say(client, "ada", "a1")
        await ear.until("ada", "a1")
        [mark] = await store.marks()
        bus.refuses = refusing("ada")
        await say(client, "ada", "a2")
        async with asyncio.timeout(PATIENCE):
            while not len(worker._committer.arrears):
                await asyncio.sleep(0.005)
        assert [one.revision for one in await store.marks()] == [mark.revision]
        bus.refuses = lambda _: None
        await ear.until("ada", "a1", "a2")
        await twice(settled)
        assert [one.revision for one in await store.marks()] == [mark.revision]
