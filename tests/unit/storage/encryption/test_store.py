"""A store that encrypts: over a store of files, whose bytes anybody can look at."""

import shutil
from pathlib import Path

import pytest

from agentbus.contracts.errors import ConfigurationError, KeyMissing, StoreDamaged
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.encryption import EncryptedStore, encrypting, of_user
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import LISTED_BODY
from agentbus.storage.summaries import summary_of
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_parked, appended, data_set
from tests.harness.encryption import MASTERS

ONE, OTHER = a_conversation("one"), a_conversation("other")
HEAD = a_head(ONE, data={"said": "hello"})
COMMITS = [
    a_commit(ONE, events=[appended(ONE, 1, "m")]),
    a_commit(ONE, 2, events=[data_set(ONE, 2, {"said": "hello"})]),
]
STATE = Record(kind=RecordKind.COMPONENTS, key=HEAD.session_id, created_at=NOON, data={"said": "hello"})


async def fill(store: EncryptedStore) -> None:
    for commit in COMMITS:
        assert await store.log.append([commit]) == [None]
    assert await store.heads.save([HEAD]) == [None]
    await store.records.put(STATE)
    await store.parked.put(a_parked("p", reason="it said hello"))


async def test_a_process_without_keys_does_not_start() -> None:
    plain, keys = MemoryStore(), MemoryStore()
    async with EncryptedStore(plain, MASTERS):
        pass
    with pytest.raises(ConfigurationError, match="is encrypted: give its master keys by AGENTBUS_ENCRYPTION_KEYS"):
        await EncryptedStore(plain).start()
    with pytest.raises(ConfigurationError, match="in the store itself: check AGENTBUS_ENCRYPTION_KEY_STORE"):
        await EncryptedStore(plain, MASTERS, key_store=keys).start()


async def test_the_keys_own_store_is_asked_for() -> None:
    plain, keys = MemoryStore(), MemoryStore()
    async with EncryptedStore(plain, MASTERS, key_store=keys) as store:
        await fill(store)
    with pytest.raises(ConfigurationError, match="where its data keys are by AGENTBUS_ENCRYPTION_KEY_STORE"):
        await EncryptedStore(plain).start()
    with pytest.raises(ConfigurationError, match="in a store of their own: check AGENTBUS_ENCRYPTION_KEY_STORE"):
        await EncryptedStore(plain, MASTERS).start()
    with pytest.raises(ConfigurationError, match="not those that this store was encrypted with"):
        await EncryptedStore(plain, MASTERS, key_store=MemoryStore()).start()


async def test_what_others_began_to_encrypt_meanwhile_is_not_taken_for_empty() -> None:
    """A process that was started before: it has no keys, and must not read what it can't as if nothing was said."""
    plain = MemoryStore()
    early = EncryptedStore(plain)
    await early.start()
    async with EncryptedStore(plain, MASTERS) as store:
        await fill(store)

    loaded = (await early.log.load([ONE, OTHER]))[ONE]
    assert isinstance(loaded.damage, KeyMissing)
    for call in (
        early.heads.get(HEAD.session_id),
        early.log.read(ONE, limit=5),
        early.records.get(STATE.kind, STATE.key),
        early.parked.get(a_parked("p").parked_id),
    ):
        with pytest.raises(KeyMissing, match="is needed: give them by AGENTBUS_ENCRYPTION_KEYS"):
            await call
    assert (await early.heads.page(SessionFilter())).items == ()
    assert (await early.heads.summaries(SessionFilter())).items == (summary_of(HEAD),), "a list needs no key"
    assert (await early.parked.page()).items == ()


async def test_what_was_kept_before_is_read_beside_what_is_encrypted() -> None:
    plain = MemoryStore()
    await plain.log.append([COMMITS[0]])
    await plain.heads.save([a_head(ONE, version=1)])
    await plain.parked.put(parked := a_parked("p", body=b"x" * (LISTED_BODY + 1)))
    async with EncryptedStore(plain, MASTERS) as store:
        await store.log.append([COMMITS[1]])
        loaded = (await store.log.load([ONE]))[ONE]
        assert (loaded.head, loaded.commits) == (a_head(ONE, version=1), (COMMITS[1],))
        assert await store.log.read(ONE, limit=5) == COMMITS
        assert await store.parked.get(parked.parked_id) == parked

        await store.parked.put(parked.model_copy(update={"reason": "again"}))

        again = await store.parked.get(parked.parked_id)
        assert again == parked.model_copy(update={"reason": "again", "attempts": 2})


async def test_what_was_changed_is_damage_of_its_own(tmp_path: Path) -> None:
    plain = open_store(f"file://{tmp_path}/store")
    async with EncryptedStore(plain, MASTERS) as store:
        await fill(store)
        await store.log.append([commit := a_commit(OTHER, events=[appended(OTHER, 1, "m")])])
        await store.heads.save([other := a_head(OTHER, data={"said": "more"})])
        for raw in await plain.log.read(ONE, limit=1):
            event = raw.events[0].model_copy(update={"sealed": (raw.events[0].sealed or "")[:-8] + "AAAAAAA="})
            await plain.log.replace([raw.model_copy(update={"events": (event,)})])
        kept = await plain.heads.get(HEAD.session_id)
        assert kept is not None
        await plain.heads.save([kept.model_copy(update={"sealed": "gone.1:AAAA"})])

        loaded = await store.log.load([ONE, OTHER])

        assert (loaded[OTHER].head, loaded[OTHER].commits) == (other, ())
        assert await store.log.read(OTHER, limit=5) == [commit]
        assert isinstance(loaded[ONE].damage, StoreDamaged)
        with pytest.raises(StoreDamaged, match=f"commit 1 of conversation {ONE} can't be decrypted") as error:
            await store.log.read(ONE, limit=5)
        assert error.value.details["version"] == 1
        with pytest.raises(KeyMissing, match=r"data key gone\.1 is not among the data keys"):
            await store.heads.get(HEAD.session_id)
        assert (await store.heads.page(SessionFilter())).items == (other,)
        assert await store.heads.get_many([HEAD.session_id, other.session_id]) == {other.session_id: other}


async def test_a_head_that_can_not_be_read_is_made_up_for_by_its_log() -> None:
    plain = MemoryStore()
    async with EncryptedStore(plain, MASTERS) as store:
        await fill(store)
        kept = await plain.heads.get(HEAD.session_id)
        assert kept is not None
        await plain.heads.save([kept.model_copy(update={"sealed": "gone.1:AAAA"})])

        loaded = (await store.log.load([ONE]))[ONE]

        assert isinstance(loaded.damage, StoreDamaged)  # This log begins without its session's beginning.
        assert "does not say all" in str(loaded.damage)


async def test_a_key_that_can_not_be_had_fails_nobody_else() -> None:
    plain = MemoryStore()
    async with EncryptedStore(plain, MASTERS) as store:
        await fill(store)
        assert store.keys is not None
        key = (await store.keys.to_encrypt([of_user("user")]))[of_user("user")]
        assert not isinstance(key, StoreDamaged)
        record = await plain.records.get(RecordKind.DATA_KEY, key.name)
        assert record is not None
        await plain.records.put(record.model_copy(update={"data": record.data | {"master": "lost"}}))

    async with EncryptedStore(plain, MASTERS) as store:
        said, set_ = (
            a_commit(ONE, 3, events=[appended(ONE, 3, "n")]),
            a_commit(OTHER, events=[data_set(OTHER, 1, {"a": 1})]),
        )
        refused, none = await store.log.append([said, set_])

        assert isinstance(refused, KeyMissing)
        assert refused.details["master_key"] == "lost"
        assert none is None
        assert await store.log.read(OTHER, limit=5) == [set_]
        assert (await store.log.load([ONE]))[ONE].damage is None  # Its head is the conversation's.


async def test_an_old_copy_of_the_files_shows_nothing_of_whose_key_was_destroyed(tmp_path: Path) -> None:
    keys = open_store(f"sqlite:///{tmp_path}/keys.db")
    ann, bob = (appended(ONE, 1, "m"), appended(ONE, 2, "n").model_copy(update={"actor": "bob"}))
    async with EncryptedStore(open_store(f"sqlite:///{tmp_path}/a.db"), MASTERS, key_store=keys) as store:
        await store.log.append([commit := a_commit(ONE, events=[ann, bob])])
    shutil.copy(tmp_path / "a.db", tmp_path / "old.db")
    assert b"says" not in (tmp_path / "old.db").read_bytes()

    async with EncryptedStore(open_store(f"sqlite:///{tmp_path}/a.db"), MASTERS, key_store=keys) as store:
        assert await store.log.read(ONE, limit=1) == [commit]
        assert store.keys is not None
        await store.keys.retire([of_user("user")])
        assert await store.keys.destroy([of_user("user")]) == 1

    async with EncryptedStore(open_store(f"sqlite:///{tmp_path}/old.db"), MASTERS, key_store=keys) as store:
        (left,) = await store.log.read(ONE, limit=1)
        assert left.events[1] == bob
        assert "says m" not in left.model_dump_json()


async def test_large_bodies_are_listed_by_their_beginnings() -> None:
    async with EncryptedStore(MemoryStore(), MASTERS) as store:
        parked = a_parked("p", body=bytes(range(256)) * 8192)
        await store.parked.put(parked)

        (listed,) = (await store.parked.page()).items
        assert listed == parked.model_copy(update={"body": parked.body[:LISTED_BODY]})
        assert await store.parked.get(parked.parked_id) == parked
        kept = await store.store.parked.get(parked.parked_id)
        assert kept is not None
        await store.store.parked.put(kept.model_copy(update={"status": ParkedStatus.PARKED, "body": b"cut"}))
        with pytest.raises(KeyMissing):
            await store.parked.get(parked.parked_id)


async def test_settings_say_whether_it_encrypts() -> None:
    key = "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    opened: list[str] = []

    def open_keys(url: str) -> MemoryStore:
        opened.append(url)
        return MemoryStore()

    assert encrypting(MemoryStore(), None, "memory://").keys is None
    store = encrypting(MemoryStore(), key, "memory://keys", open_keys)
    assert store.keys is not None
    assert store.apart
    assert opened == ["memory://keys"]
    assert key.partition(":")[2] not in repr(vars(store.keys)) + repr(vars(store.keys.masters))
