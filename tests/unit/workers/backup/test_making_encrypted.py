"""A backup of an encrypted store holds nothing that can be read, and nothing of whom an erasure by key has erased."""

from pathlib import Path

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import BackupRefused
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.backup import BackupPlace, BackupReader, open_backups
from agentbus.storage.encryption import DataKeys, EncryptedStore, keys_of, of_user
from agentbus.storage.encryption.data_keys import SURELY_NOTICED
from agentbus.storage.memory import MemoryStore
from tests.harness.backups import backed_up, faults_of, held_by, put_back
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_parked, appended, begun
from tests.harness.encryption import MASTERS, SECOND

ONE = a_conversation("one")
WORDS = "only ann and bob may read this"
SESSION = a_head(ONE).session_id


class Time:
    """Monotonic time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=["apart", "here"])
async def store(request: pytest.FixtureRequest, time: Time) -> EncryptedStore:
    """Give a store with words of two people in it; its data keys are in a store of their own, or in itself."""
    key_store = MemoryStore() if request.param == "apart" else None
    store = EncryptedStore(MemoryStore(), MASTERS, key_store=key_store, monotonic=time)
    await store.start()
    said = [said_by(sequence, user) for sequence, user in ((2, "ann"), (3, "bob"))]
    await store.log.append([a_commit(ONE, 1, events=[begun(ONE), *said])])
    await store.heads.save([a_head(ONE, version=1, data={"words": WORDS})])
    data = {"words": WORDS}
    await store.records.put(Record(kind=RecordKind.COMPONENTS, key=SESSION, created_at=NOON, data=data))
    await store.parked.put(a_parked("p", reason=WORDS, body=WORDS.encode()))
    return store


def said_by(sequence: int, user: str) -> MessageAppended:
    message = SessionMessage(
        key=appended(ONE, sequence, f"m{sequence}").message.key,
        message_id=f"m{sequence}",
        role=Role.USER,
        sent_at=NOON,
        content=TextContent(text=f"{user}: {WORDS}"),
    )
    return appended(ONE, sequence, f"m{sequence}").model_copy(update={"message": message, "actor": user})


def place_of(folder: Path, store: EncryptedStore) -> BackupPlace:
    return open_backups(f"file://{folder}", keys=keys_of(store))


def bytes_in(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def texts(reader: BackupReader) -> list[str]:
    """Return what the messages in a backup say."""
    return [
        event.message.content.text
        async for one in reader.conversations()
        async for commit in one.commits
        for event in commit.events
        if isinstance(event, MessageAppended) and isinstance(event.message.content, TextContent)
    ]


async def test_what_it_holds_can_be_read_with_the_keys_alone(store: EncryptedStore, tmp_path: Path) -> None:
    place = place_of(tmp_path, store)
    manifest = await backed_up(store, place)
    assert manifest.encrypted
    for name, held in bytes_in(tmp_path).items():
        assert not [word for word in (WORDS, "ann:", SESSION, ONE) if word.encode() in held], name
    reader = BackupReader(place, manifest)
    assert await texts(reader) == [f"ann: {WORDS}", f"bob: {WORDS}"]
    assert [head.data async for one in reader.conversations() for head in one.heads] == [{"words": WORDS}]
    kept = [one.data async for one in reader.records() if one.kind is RecordKind.COMPONENTS]
    assert kept == [{"words": WORDS}]
    # As it was kept, below the keys, it comes back to the last byte.
    raw = await put_back(BackupReader(place, manifest, raw=True))
    assert await held_by(raw) == await held_by(store.store)


async def test_without_keys_or_with_others_it_is_verified_and_not_read(store: EncryptedStore, tmp_path: Path) -> None:
    manifest = await backed_up(store, place_of(tmp_path, store))
    nobody = open_backups(f"file://{tmp_path}")
    assert await faults_of(nobody) == {}
    with pytest.raises(BackupRefused, match="AGENTBUS_ENCRYPTION_KEYS"):
        await texts(BackupReader(nobody, manifest))
    others = EncryptedStore(MemoryStore(), type(MASTERS)({"first": SECOND}))
    await others.start()
    with pytest.raises(BackupRefused, match="is encrypted"):
        await texts(BackupReader(place_of(tmp_path, others), manifest))


async def test_an_old_one_has_nothing_of_a_user_whose_key_was_destroyed(
    store: EncryptedStore, tmp_path: Path, time: Time
) -> None:
    place = place_of(tmp_path, store)
    manifest = await backed_up(store, place)
    keys = keys_of(store)
    assert keys is not None
    await keys.retire([of_user("ann")])
    time.now += SURELY_NOTICED
    await keys.destroy([of_user("ann")])
    reader = BackupReader(place, manifest)
    assert await texts(reader) == ["", f"bob: {WORDS}"]
    later = await backed_up(store, place, incremental=True)
    assert await texts(BackupReader(place, later)) == ["", f"bob: {WORDS}"]


async def test_data_keys_that_are_in_the_store_are_in_its_backup_wrapped(store: EncryptedStore, tmp_path: Path) -> None:
    place = place_of(tmp_path, store)
    manifest = await backed_up(store, place)
    wrapped = [record async for record in BackupReader(place, manifest).data_keys()]
    if store.apart:
        assert [record.key for record in wrapped] == ["encrypted"], "the mark, which says where they are"
        return
    # The store is lost; what is left is the backup and the master key.
    lost = MemoryStore()
    await lost.records.put_many(wrapped)
    keys = DataKeys(lost.records, MASTERS, SystemClock())
    assert await texts(BackupReader(place, manifest, keys=keys)) == [f"ann: {WORDS}", f"bob: {WORDS}"]


async def test_an_incremental_one_writes_what_has_changed_though_nothing_encrypted_is_ever_the_same(
    store: EncryptedStore, tmp_path: Path
) -> None:
    for number in range(20):
        other = a_conversation(f"other {number}")
        await store.log.append([a_commit(other, 1, events=[begun(other)])])
        await store.heads.save([a_head(other, version=1, data={"words": WORDS})])
    place = place_of(tmp_path, store)
    full = await backed_up(store, place)
    nothing = await backed_up(store, place, incremental=True)
    assert (nothing.base, nothing.written) == (full.backup_id, 0)
    changed = a_head(ONE, version=2, data={"words": "others"})
    await store.log.append([a_commit(ONE, 2, events=[said_by(4, "ann")])])
    await store.heads.save([changed])
    some = await backed_up(store, place, incremental=True)
    assert 0 < some.written < full.written / 3
    heads = [head async for one in BackupReader(place, some).conversations() for head in one.heads]
    assert len(heads) == 21
    assert [head.data for head in heads if head.version == 2] == [changed.data]
