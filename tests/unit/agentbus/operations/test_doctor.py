"""The doctor's findings: what is well, what is not, and what to do about it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

import agentbus.operations.doctor
from agentbus.contracts.address import Scope
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import ResolveReply
from agentbus.contracts.errors import AgentBusError, BrokerRejected, BrokerUnavailable, StoreRejected
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId, WorkerKind
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import ReplyResolution
from agentbus.contracts.topology import Topology
from agentbus.operations.doctor import CLOCK_TOLERANCE, Finding, Health, _examine_bus, _examine_store, examine
from agentbus.settings import Settings, load_settings
from agentbus.storage.encryption import EncryptedStore, LocalMasterKeys
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store, StoreInfo
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus, BusInfo, Message
from agentbus.workers.installation.joining import join_installation
from tests.harness.builders import a_parked
from tests.harness.conversations import CONVERSATION
from tests.harness.encryption import FIRST, MASTERS, SECOND
from tests.harness.outbound import OutboundWorld

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = load_settings(amqp_url="memory://", store_url="memory://", partitions=2)


class OtherBus(MemoryBus):
    """A bus that says it is another one."""

    def __init__(self, kind: str = "RabbitMQ", version: str = "4.1.0") -> None:
        super().__init__(Topology(partitions=2))
        self._info = BusInfo(kind, version)

    async def info(self) -> BusInfo:
        return self._info


class OtherStore(MemoryStore):
    """A store that says it is another one, with a clock of its own."""

    def __init__(self, version: str = "8.0.3", *, late: timedelta = timedelta()) -> None:
        super().__init__()
        self._info = StoreInfo("mongodb", version, NOW - late)

    async def info(self) -> StoreInfo:
        return self._info


class BrokenBus(MemoryBus):
    """A bus that can't be reached."""

    async def start(self) -> None:
        raise BrokerUnavailable("no broker at host:5672")


class BrokenStore(MemoryStore):
    """A store that refuses us."""

    async def start(self) -> None:
        raise StoreRejected("wrong password")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agentbus.operations.doctor, "make_clock", lambda: ManualClock(NOW))


async def by_check(findings: AsyncIterator[Finding]) -> dict[str, Finding]:
    return {finding.check: finding async for finding in findings}


async def of_bus(bus: Bus) -> dict[str, Finding]:
    return await by_check(_examine_bus(bus))


async def of_store(store: Store) -> dict[str, Finding]:
    return await by_check(_examine_store(store, SETTINGS))


def healths(findings: dict[str, Finding]) -> dict[str, Health]:
    return {check: finding.health for check, finding in findings.items()}


@pytest.mark.parametrize(
    ("version", "health"),
    [
        ("3.9.29", Health.FAILED),
        ("2.11.0", Health.FAILED),
        ("3.10.0", Health.OK),
        ("3.13.7", Health.OK),
        ("4.0.0-rc.1", Health.OK),
        ("10.0.0", Health.OK),
    ],
)
async def test_an_old_broker_is_found(version: str, health: Health) -> None:
    async with OtherBus(version=version) as bus:
        finding = (await of_bus(bus))["broker"]
    assert finding.health is health
    assert version in finding.found
    assert ("Upgrade to 3.10 or later." in finding.advice) == (health is Health.FAILED)


async def test_the_version_of_another_broker_says_nothing() -> None:
    async with OtherBus("memory", "0.1.0") as bus:
        assert (await of_bus(bus))["broker"].health is Health.OK


@pytest.mark.parametrize(("version", "health"), [("4.4.29", Health.FAILED), ("5.0.0", Health.OK), ("8.0.3", Health.OK)])
async def test_an_old_mongodb_is_found(version: str, health: Health) -> None:
    finding = (await of_store(OtherStore(version)))["store"]
    assert finding.health is health
    assert finding.found.startswith(f"mongodb {version}")


async def test_what_a_store_may_lose_is_told() -> None:
    class Cache(OtherStore):
        async def info(self) -> StoreInfo:
            return replace(await super().info(), risks=("it does not write to its disk: allow INFO",))

    finding = (await of_store(Cache("8.0.3")))["durability"]
    assert (finding.health, finding.found) == (Health.WARNING, "the store may lose what is kept there")
    assert finding.advice == "It does not write to its disk: allow INFO."
    assert "durability" not in await of_store(OtherStore("8.0.3"))


async def test_missing_queues_are_found_and_nothing_is_said_of_their_consumers() -> None:
    async with OtherBus() as bus:
        findings = await of_bus(bus)
    assert healths(findings) == {"broker": Health.OK, "declared": Health.OK, "topology": Health.FAILED}
    assert findings["topology"].found == "4 of 4 queues are missing"
    assert "agentbus topology declare" in findings["topology"].advice


async def test_one_missing_queue_is_found() -> None:
    async with OtherBus() as bus:
        await bus.declare()
        bus._broker.delete_queue("agentbus.inbound.1")
        assert (await of_bus(bus))["topology"].found == "1 of 4 queues are missing"


async def test_queues_that_nobody_consumes_are_named() -> None:
    async with OtherBus() as bus:
        await bus.declare()
        await bus.consume("agentbus.inbound.0", lambda _: None, prefetch=1)
        finding = (await of_bus(bus))["consumers"]
    assert finding.health is Health.WARNING
    assert finding.found == "nobody consumes 2 queues: agentbus.parked, agentbus.inbound.1"
    assert "agentbus worker session" in finding.advice


async def test_of_many_queues_some_are_named() -> None:
    async with MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        found = (await of_bus(bus))["consumers"].found
    assert found == "nobody consumes 5 queues: agentbus.parked, agentbus.inbound.0, agentbus.inbound.1, ..."


async def test_with_a_consumer_for_each_queue_all_is_well() -> None:
    async with OtherBus() as bus:
        await bus.declare()
        for queue in bus.topology.queues():
            await bus.consume(queue.name, lambda _: None, prefetch=1)
        assert set(healths(await of_bus(bus)).values()) == {Health.OK}


async def test_what_waits_is_counted() -> None:
    async with OtherBus() as bus:
        await bus.declare()
        for queue in ("agentbus.inbound.0", "agentbus.inbound.1", "agentbus.ingress"):
            await bus.publish("", queue, Message(body=b"x", message_id="1"))
        assert (await of_bus(bus))["backlog"].found == "3 messages wait"


@pytest.mark.parametrize("sign", [1, -1])
async def test_clocks_that_are_apart_are_found(sign: int) -> None:
    store = OtherStore(late=sign * (CLOCK_TOLERANCE + timedelta(milliseconds=1)))
    finding = (await of_store(store))["clock"]
    assert finding.health is Health.WARNING
    assert "0:00:05.001000 apart" in finding.found
    assert "NTP" in finding.advice


async def test_clocks_may_differ_a_little() -> None:
    assert (await of_store(OtherStore(late=CLOCK_TOLERANCE)))["clock"].health is Health.OK


async def test_parked_inputs_are_pointed_out_until_someone_saw_to_them() -> None:
    store, parked = OtherStore(), a_parked()
    await store.parked.put(parked)
    finding = (await of_store(store))["parked"]
    assert finding.health is Health.WARNING
    assert finding.advice == "Run: agentbus parked list"
    await store.parked.set_status(parked.parked_id, ParkedStatus.DISCARDED)
    assert (await of_store(store))["parked"].health is Health.OK


def use(monkeypatch: pytest.MonkeyPatch, bus: Bus, store: Store) -> None:
    def make_bus(_: Settings) -> Bus:
        return bus

    def make_store(_: Settings) -> Store:
        return store

    monkeypatch.setattr(agentbus.operations.doctor, "make_bus", make_bus)
    monkeypatch.setattr(agentbus.operations.doctor, "make_store", make_store)


async def test_master_keys_that_are_needed_and_missing_are_named() -> None:
    plain = MemoryStore()
    assert (await of_store(EncryptedStore(plain)))["encryption"].found == "nothing is encrypted"
    async with EncryptedStore(plain, MASTERS) as store:
        finding = (await of_store(store))["encryption"]
        assert (finding.health, finding.found) == (Health.OK, "1 data keys, wrapped with the master key first")
        state: dict[str, JsonValue] = {"state": "live", "master": "lost"}
        lost = Record(kind=RecordKind.DATA_KEY, key="k.1", group="data_keys", created_at=NOW, data=state)
        await plain.records.put(lost)
        finding = (await of_store(store))["encryption"]
        assert finding.health is Health.FAILED
        assert finding.found == "1 data keys need the master key lost, which is not here"
        await plain.records.delete(lost.kind, lost.key)
    rotated = EncryptedStore(plain, LocalMasterKeys({"second": SECOND, "first": FIRST}))
    async with rotated as store:
        finding = (await of_store(store))["encryption"]
        assert (finding.health, finding.advice) == (Health.WARNING, "Run: agentbus store keys rotate")


async def test_a_broken_broker_does_not_hide_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, BrokenBus(Topology()), OtherStore())
    findings = await by_check(examine(SETTINGS))
    assert healths(findings) == {
        "broker": Health.FAILED,
        "store": Health.OK,
        "installation": Health.WARNING,
        "encryption": Health.OK,
        "clock": Health.OK,
        "workers": Health.WARNING,
        "replies": Health.OK,
        "parked": Health.OK,
    }
    assert findings["broker"].found == "no broker at host:5672"
    assert "AGENTBUS_AMQP_URL" in findings["broker"].advice


async def test_a_broken_store_is_found_after_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OtherBus(), BrokenStore())
    findings = [finding async for finding in examine(SETTINGS)]
    assert [finding.check for finding in findings] == ["broker", "declared", "topology", "store"]
    assert (findings[-1].health, findings[-1].found) == (Health.FAILED, "wrong password")
    assert "AGENTBUS_STORE_URL" in findings[-1].advice


async def test_what_failed_comes_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, BrokenBus(Topology()), OtherStore("4.0", late=timedelta(hours=1)))
    async for finding in examine(SETTINGS):
        assert bool(finding.advice) == (finding.health is not Health.OK)


@pytest.mark.parametrize(
    ("broken", "advice"),
    [(BrokerUnavailable("gone"), "Start RabbitMQ"), (BrokerRejected("no"), "user, password and virtual host")],
)
async def test_the_advice_fits_what_is_wrong_with_the_broker(
    monkeypatch: pytest.MonkeyPatch, broken: AgentBusError, advice: str
) -> None:
    class Broken(MemoryBus):
        async def start(self) -> None:
            raise broken

    use(monkeypatch, Broken(Topology()), OtherStore())
    assert advice in (await by_check(examine(SETTINGS)))["broker"].advice


async def test_what_waits_in_an_ingress_that_nobody_routes_is_a_failure() -> None:
    async with OtherBus() as bus:
        await bus.declare()
        assert (await of_bus(bus))["ingress"].health is Health.OK
        await bus.publish(bus.topology.ingress, "", Message(body=b"x", message_id="1"))
        finding = (await of_bus(bus))["ingress"]
        assert (finding.health, finding.advice) == (Health.FAILED, "Run: agentbus worker ingress")
        assert finding.found == "1 messages wait in the ingress, and nobody routes them"
        await bus.consume(bus.topology.ingress, lambda _: None, prefetch=1)
        assert (await of_bus(bus))["ingress"].health is Health.OK


async def test_another_number_of_partitions_on_broker_and_store_is_a_failure() -> None:
    store = OtherStore()
    async with OtherBus() as bus:
        await join_installation(store, bus, ManualClock(NOW))
        assert (await of_bus(bus))["declared"].found == "as these settings say: 2 partitions, scope per_chat_user"
        assert (await of_store(store))["installation"].health is Health.OK
        bus.topology = bus.topology.model_copy(update={"partitions": 3})
        findings = [(await of_bus(bus))["declared"]]
    other = load_settings(amqp_url="memory://", store_url="memory://", partitions=2, scope=Scope.MAIN)
    findings.append((await by_check(_examine_store(store, other)))["installation"])
    for finding in findings:
        assert finding.health is Health.FAILED
        assert finding.found.startswith("the installation has 2 partitions and scope per_chat_user; this process has")
        assert "AGENTBUS_PARTITIONS=2" in finding.advice


async def test_a_database_that_nobody_has_started_on_is_named() -> None:
    class Misspelt(MemoryStore):
        async def info(self) -> StoreInfo:
            return StoreInfo("mongodb", "8.0.3", NOW, "agentbsu")

    findings = await of_store(Misspelt())
    assert findings["store"].found == "mongodb 8.0.3, database agentbsu"
    assert findings["installation"].found == "no worker has ever started on this store (agentbsu)"
    assert "the database's name" in findings["installation"].advice


async def test_every_kind_of_worker_that_is_needed_is_missed() -> None:
    store = OtherStore()
    finding = (await of_store(store))["workers"]
    assert (finding.health, finding.advice) == (Health.WARNING, "Run: agentbus worker session")
    due = Record(kind=RecordKind.SYNC_TASK, key="s", created_at=NOW, due_at=NOW, data={})
    reply = Record(kind=RecordKind.OUTBOX, key="c", created_at=NOW, due_at=NOW, data={})
    await store.records.put_many([due, reply])
    await store.records.put(Record(kind=RecordKind.EXPIRY_RULE, key="r", created_at=NOW, data={}))
    finding = (await of_store(store))["workers"]
    assert finding.found == (
        "no worker is alive: no session worker, and nothing is committed; no expiry worker, and there are expiry "
        "rules; no sync worker, and syncs are due; no outbound worker, and replies are to be sent"
    )
    workers = ("session", "expiry", "sync", "outbound")
    assert finding.advice == f"Run: {', '.join(f'agentbus worker {worker}' for worker in workers)}"
    for kind in WorkerKind:
        member = Member(worker_id=WorkerId(f"the {kind}"), host="h", pid=1, started_at=NOW)
        await store.members.heartbeat(kind.group(SETTINGS.bus.prefix), member, ttl=60)
    finding = (await of_store(store))["workers"]
    assert (finding.health, finding.found) == (Health.OK, ", ".join(f"1 {kind}" for kind in WorkerKind))


async def test_accounts_of_chat_platforms_need_a_gateway() -> None:
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=2, channels={"line": {"shop": {}}})
    store = OtherStore()
    finding = (await by_check(_examine_store(store, settings)))["workers"]
    assert "no gateway worker, and there are accounts of chat platforms" in finding.found
    assert "agentbus worker gateway" in finding.advice


async def test_partitions_that_a_worker_has_stopped_are_named() -> None:
    store = OtherStore()
    stopped = (Partition(3), Partition(7))
    member = Member(worker_id=WorkerId("one"), host="h", pid=1, started_at=NOW, stopped=stopped)
    await store.members.heartbeat(WorkerKind.SESSION.group(SETTINGS.bus.prefix), member, ttl=60)
    finding = (await of_store(store))["workers"]
    assert (finding.health, finding.advice) == (Health.FAILED, "Run: agentbus parked list, and mend what it says.")
    assert "partitions 3, 7 are stopped" in finding.found


async def test_replies_of_which_nobody_knows_are_mentioned_until_somebody_decided() -> None:
    store = OtherStore()
    assert (await of_store(store))["replies"].health is Health.OK
    world = OutboundWorld(store=store)
    world.at_platform.tell(["died"])
    (reply,) = await world.ask(CONVERSATION, "one")
    await world.settle()
    finding = (await of_store(store))["replies"]
    assert (finding.health, finding.found) == (
        Health.WARNING,
        "of 1 replies nobody knows whether they were sent",
    )
    await world.give(CONVERSATION, ResolveReply(reply=reply, resolution=ReplyResolution.SENT), "sent")
    assert (await of_store(store))["replies"].health is Health.OK


async def test_the_journal_that_nobody_writes_is_told_with_what_to_do() -> None:
    async with MemoryBus(Topology(partitions=2)) as bus:
        await bus.declare()
        assert "journal" not in await by_check(_examine_bus(bus))
        queue = bus.topology.subscription("journal", ("session.#",), ordered=True)
        await bus.declare_queue(queue)
        assert (await by_check(_examine_bus(bus)))["journal"].health is Health.OK
        await bus.publish(bus.topology.events, "session.message.web", Message(body=b"{}", message_id="1"))
        found = (await by_check(_examine_bus(bus)))["journal"]
        assert (found.health, "1 events wait" in found.found) == (Health.WARNING, True)
        assert "agentbus worker api" in found.advice
        assert "rabbitmqctl delete_queue agentbus.subscription.journal" in found.advice
