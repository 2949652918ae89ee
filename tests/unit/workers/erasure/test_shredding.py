"""Encryption at rest with people in it: nothing of theirs is found in the clear, and erasing by key reaches backups."""

import copy
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agentbus.contracts.errors import ArchiveNotFound, KeyMissing
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.operations.encryption import encrypt_all, master_keys, rotate
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.encryption import DataKey, EncryptedStore, LocalMasterKeys, MasterKeys
from agentbus.storage.factory import open_store
from agentbus.storage.history import iter_history
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked, iter_records, iter_sessions
from agentbus.workers.erasure.search import EVERYTHING
from agentbus.workers.erasure.users import erase_user
from tests.harness.conversations import NOW
from tests.harness.encryption import FIRST, MASTERS, SECOND
from tests.harness.erasures import (
    ADA,
    BOB,
    NAME,
    WORD,
    Town,
    everything_in,
    everything_in_database,
    live_in,
    said,
    town,
)
from tests.harness.sampling import sampled

OTHERS = ("I am Bob", "welcome to the lobby", "welcome to the attic", "how much?", "be kind")
"""What others than Ada wrote."""


@dataclass
class Place:
    """An encrypted store, its archive, and its keys apart, in a folder."""

    folder: Path
    kind: str = "memory"
    mongo_url: str = ""
    apart: bool = True
    masters: MasterKeys | None = MASTERS
    now: list[float] = field(default_factory=lambda: [0.0])
    in_memory: MemoryStore = field(default_factory=MemoryStore)
    keys_in_memory: MemoryStore = field(default_factory=MemoryStore)

    @property
    def plain(self) -> Store:
        match self.kind:
            case "memory":
                return self.in_memory
            case "mongodb":
                return open_store(self.mongo_url)
            case "sqlite":
                return open_store(f"sqlite:///{self.folder}/store/sessions.db")
            case _:
                return open_store(f"file://{self.folder}/store")

    def store(self) -> EncryptedStore:
        keys = self.keys_in_memory if self.apart and self.masters else None
        return EncryptedStore(self.plain, self.masters, key_store=keys, monotonic=lambda: self.now[0])

    @property
    def archive_url(self) -> str:
        return f"file://{self.folder}/archive"

    @asynccontextmanager
    async def town(self) -> AsyncIterator[Town]:
        store = self.store()
        async with town(store, self.archive_url) as it:
            archive = open_archive(self.archive_url, keys=store.keys)
            it.archive = it.erasing.archive = archive
            it.erasing.wait = self.wait
            yield it

    async def wait(self, seconds: float) -> None:
        self.now[0] += seconds

    def bytes_kept(self) -> bytes:
        held = everything_in(self.folder / "store") + everything_in(self.folder / "archive")
        held += repr([vars(getattr(self.in_memory, name)) for name in Store.__annotations__]).encode()
        return held + (everything_in_database(self.mongo_url) if self.mongo_url else b"")

    def backed_up(self) -> "Place":
        """Return a place with a copy of what is kept, and with the keys of this one."""
        copied = replace(self, folder=self.folder / "backup", in_memory=copy.deepcopy(self.in_memory))
        for name in ("store", "archive"):
            shutil.copytree(self.folder / name, copied.folder / name, dirs_exist_ok=True)
        return copied

    def found(self, words: tuple[str, ...]) -> list[str]:
        held = self.bytes_kept()
        return [word for word in words if word.encode() in held]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "store").mkdir()
    return Place(tmp_path)


async def everything_readable(store: Store, archive: ArchiveStore) -> str:
    """Return all that a store and an archive show to whoever has the keys."""
    found: list[object] = []
    for where in EVERYTHING:
        async for head in iter_sessions(store, where):
            found += [head, *[commit async for commit in iter_log(store, head.conversation_id)]]
            found += [one async for one in iter_records(store, RecordKind.CHECKPOINT, head.session_id)]
            found.append(await store.records.get(RecordKind.COMPONENTS, head.session_id))
    found += [one async for one in iter_records(store, RecordKind.IDENTITY, "identities")]
    for listed in [one async for one in iter_parked(store)]:
        found += [listed, await store.parked.get(listed.parked_id)]
    async for entry in archive.entries():
        try:
            found += [await archive.head(entry), *[commit async for commit in archive.commits(entry)]]
        except ArchiveNotFound as error:
            found.append(error)
    return repr(found)


async def lost(store: Store) -> list[str]:
    """Return what a store still holds whose key was destroyed: an erasure leaves nothing of that kind behind."""
    assert isinstance(store, EncryptedStore)
    assert store.keys is not None
    sealed: dict[str, str | None] = {}
    for where in EVERYTHING:
        async for head in iter_sessions(store.store, where):
            sealed[f"head {head.session_id}"] = head.sealed
            async for commit in iter_log(store.store, head.conversation_id):
                sealed |= {f"{event.kind} {event.event_id}": event.sealed for event in commit.events}
    for kind in RecordKind:
        page = await store.store.records.scan(kind, limit=1000)
        sealed |= {f"{kind} {record.key}": record.sealed for record in page.items}
    async for parked in iter_parked(store.store):
        sealed[f"parked {parked.parked_id}"] = parked.sealed
    names = {what: text.partition(":")[0] for what, text in sealed.items() if text}
    keys = await store.keys.to_decrypt(names.values())
    assert names
    return [what for what, name in names.items() if not isinstance(keys[name], DataKey)]


async def texts(store: Store, name: str, it: Town) -> list[str]:
    head = await store.heads.get(it.sessions[name])
    assert head is not None
    contents = [item.message.content async for item in iter_history(store, head)]
    return [content.text for content in contents if isinstance(content, TextContent)]


@sampled("kind")
@pytest.mark.parametrize("kind", ["sqlite", "file", "mongodb"])
async def test_nothing_that_people_wrote_is_kept_in_the_clear(
    kind: str, place: Place, request: pytest.FixtureRequest
) -> None:
    place.kind, place.mongo_url = kind, request.getfixturevalue("mongo_url") if kind == "mongodb" else ""
    async with place.town() as it:
        await live_in(it)

        assert place.found((WORD, NAME, *OTHERS)) == []  # SQLite's write-ahead log is still there
        assert (await texts(it.store, "lobby", it))[0] == "welcome to the lobby"
    assert ADA.encode() in place.bytes_kept()  # ids are readable
    assert place.found((WORD, NAME, *OTHERS)) == []


async def test_after_a_rotation_the_old_key_can_be_dropped(place: Place) -> None:
    async with place.town() as it:
        await live_in(it)
    place.masters = LocalMasterKeys({"second": SECOND, "first": FIRST})
    async with place.store() as store:
        before = await everything_readable(store, open_archive(place.archive_url, keys=store.keys))
        assert [(one.name, one.active, one.data_keys > 0) for one in await master_keys(store)] == [
            ("first", False, True),
            ("second", True, False),
        ]

        done = await rotate(store, lambda _what, _count: None)

        assert done.damaged == []
        assert done.wrapped == done.looked_at > 0
        assert [(one.name, one.data_keys) for one in await master_keys(store)] == [
            ("first", 0),
            ("second", done.wrapped),
        ]
        assert (await rotate(store, lambda _what, _count: None)).wrapped == 0

    place.masters = LocalMasterKeys({"second": SECOND})
    async with place.store() as store:
        assert await everything_readable(store, open_archive(place.archive_url, keys=store.keys)) == before
    place.masters = MASTERS
    with pytest.raises(KeyMissing, match="'second' is needed"):
        await place.store().start()


async def test_an_old_backup_shows_nothing_of_who_was_erased(place: Place) -> None:
    async with place.town() as it:
        await live_in(it)
        for kind in (RecordKind.CHECKPOINT, RecordKind.TRACKED_EVENT):  # of which nothing is Ada's
            others = Record(kind=kind, key="others", group=it.sessions["lobby"], created_at=NOW, data={"of": BOB})
            await it.store.records.put(others)
        sessions = dict(it.sessions)
    backup = place.backed_up()

    async with place.town() as it:
        it.sessions = sessions
        receipt = await erase_user(it.erasing, ADA)
        assert receipt.keys > 0
        assert receipt.keys_apart
        kept = await texts(it.store, "lobby", it)
        assert kept[0] == "welcome to the lobby"
        assert kept[3] == "how much?"
        assert await lost(it.store) == []
        await it.publish(it.client, said("a9", ADA, "back again"))
        assert (await erase_user(it.erasing, BOB)).keys > 0

    async with backup.store() as store:
        shown = await everything_readable(store, open_archive(backup.archive_url, keys=store.keys))
        assert [word for word in (WORD, NAME, "I am Bob", "welcome to the lobby") if word in shown] == []
        assert "how much?" in shown  # it is Carol's
        assert ADA in shown  # ids are readable: agentbus erase --reapply takes them out


async def test_what_comes_while_somebody_is_erased_stays(place: Place) -> None:
    """A message that comes after the keys were retired is encrypted with the next one, and stays."""
    async with place.town() as it:
        await live_in(it)

        async def wait_and_write(seconds: float) -> None:
            await place.wait(seconds)
            await it.publish(it.client, said("a8", ADA, "written just now"))

        it.erasing.wait = wait_and_write
        receipt = await erase_user(it.erasing, ADA)
        assert receipt.keys > 0
        it.erasing.wait = place.wait
        conversation = await it.publish(it.client, said("a9", ADA, "and later"))
        head = await it.settled(conversation)
        it.sessions["later"] = head.session_id
        assert (await texts(it.store, "later", it))[-1] == "and later"
    async with place.store() as store:
        shown = await everything_readable(store, open_archive(place.archive_url, keys=store.keys))
        assert "and later" in shown
        assert WORD not in shown


async def test_with_the_keys_in_the_store_an_old_backup_needs_its_master_key(place: Place) -> None:
    place.apart = False
    async with place.town() as it:
        await live_in(it)
    backup = place.backed_up()
    async with place.town() as it:
        receipt = await erase_user(it.erasing, ADA)
        assert receipt.keys > 0
        assert not receipt.keys_apart

    async with backup.store() as store:
        assert WORD in await everything_readable(store, open_archive(backup.archive_url, keys=store.keys))
    backup.masters = LocalMasterKeys({"second": SECOND})
    with pytest.raises(KeyMissing, match="'first' is needed"):
        await backup.store().start()


async def test_what_was_kept_before_is_read_and_encrypted(place: Place) -> None:
    place.masters = None
    async with place.town() as it:
        await live_in(it)
        sessions = dict(it.sessions)
        before = await texts(it.store, "lobby", it)
    assert place.found((WORD, NAME)) == [WORD, NAME]

    place.masters = MASTERS
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(place.store())
        archive = open_archive(place.archive_url, keys=store.keys)
        shown = await everything_readable(store, archive)
        done = await encrypt_all(store, archive, lambda _what, _count: None)
        assert done.commits
        assert done.heads
        assert done.records
        assert done.archived == 2
        assert done.parked_left == 4
        assert await everything_readable(store, archive) == shown
        again = await encrypt_all(store, archive, lambda _what, _count: None)
        assert (again.commits, again.heads, again.records, again.archived) == (0, 0, 0, 0)
        for parked in [one async for one in iter_parked(store)]:
            await store.parked.delete(parked.parked_id)
        it.sessions = sessions
        assert await texts(store, "lobby", it) == before
        assert place.found((WORD, NAME, *OTHERS)) == []
