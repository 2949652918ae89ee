"""What workers keep in records and a later release wrote in its own words: damage of that record, told as such."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.records import Record, RecordKind
from agentbus.operations.archive import list_archived
from agentbus.operations.doctor import Health, examine
from agentbus.settings import load_settings
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.archive.index import GROUP, ArchivedSession, read_index
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.installation.joining import KEY, read_installation
from agentbus.workers.sync.people.suggestions import Suggestions
from agentbus.workers.sync.policies import Policies
from tests.harness.conversations import NOW

SESSIONS = ["a" * 26 + ".1", "b" * 26 + ".1"]


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


def a_record(kind: RecordKind, key: str, **data: object) -> Record:
    group = {RecordKind.SUGGESTION: "open", RecordKind.ARCHIVED: GROUP, RecordKind.ERASURE: "receipts"}
    return Record.model_validate(
        {"kind": kind, "key": key, "group": group.get(kind, "default"), "created_at": NOW, "data": data}
    )


async def policy(store: Store) -> object:
    return await Policies(store, ManualClock()).of("ann")


async def receipts(store: Store) -> object:
    return await Receipts.load(store, None)


async def archived(store: Store) -> object:
    record = await store.records.get(RecordKind.ARCHIVED, SESSIONS[0])
    assert record
    return read_index(record)


@pytest.mark.parametrize(
    ("record", "read", "words"),
    [
        (a_record(RecordKind.SYNC_POLICY, "ann", strategy="ask_everybody"), policy, "the sync policy 'ann'"),
        (a_record(RecordKind.SYNC_POLICY, "default", keeps_back=["diary"]), policy, "the sync policy 'default'"),
        (a_record(RecordKind.INSTALLATION, KEY, partitions=8, scope="per_planet"), read_installation, "installation"),
        (a_record(RecordKind.ERASURE, "r", subject=1), receipts, "the erasure receipt r"),
        (a_record(RecordKind.ARCHIVED, SESSIONS[0], archive="somewhere"), archived, "the archive's record"),
    ],
)
async def test_it_is_damaged_to_whoever_needs_it(
    store: MemoryStore, record: Record, read: Callable[[Store], Awaitable[object]], words: str
) -> None:
    await store.records.put(record)
    with pytest.raises(StoreDamaged, match=words):
        await read(store)


async def test_a_list_of_suggestions_goes_on_beside_one(store: MemoryStore) -> None:
    await store.records.put(a_record(RecordKind.SUGGESTION, "later", session_ids={"of": 3}, reason="same_face"))
    await store.records.put(a_record(RecordKind.SUGGESTION, "plain", session_ids=SESSIONS, reason="same_email"))
    suggestions = Suggestions(store, None, "", ManualClock())  # type: ignore[arg-type]  # listing asks neither
    assert [one.suggestion_id for one in await suggestions.listed()] == ["plain"]


async def test_a_list_of_the_archive_goes_on_beside_one(store: MemoryStore) -> None:
    plain = ArchivedSession(
        session_id=SESSIONS[1],
        platform="web",
        owner="ann",
        archive=ArchiveRef(at=NOW, url="file:///plain", digest="0" * 64, sequence=1, messages=1),
    )
    await store.records.put(a_record(RecordKind.ARCHIVED, SESSIONS[0], archive={"tier": "glacier"}))
    await store.records.put(a_record(RecordKind.ARCHIVED, SESSIONS[1], **plain.model_dump(mode="json")))
    assert (await list_archived(store, limit=10)).items == (plain,)


async def test_doctor_says_that_an_installation_cannot_be_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    async with open_store(url) as store:
        await store.records.put(a_record(RecordKind.INSTALLATION, KEY, partitions=8, scope="per_planet"))
    findings = [one async for one in examine(load_settings(store_url=url, amqp_url="memory://", partitions=8))]
    failed = [one for one in findings if one.health is Health.FAILED]
    assert any("the installation's record is damaged" in one.found for one in failed)
