"""The keys of an encrypted backup come along into a new store: who is erased there can not be read in the backup."""

from pathlib import Path

import pytest

from agentbus.contracts.errors import BackupRefused
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.storage.backup import BackupReader, open_backups
from agentbus.storage.encryption import EncryptedStore, keys_of, of_user
from agentbus.storage.encryption.data_keys import SURELY_NOTICED
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.erasure.users import erase_user
from agentbus.workers.recovery import Erasures
from tests.harness.backups import backed_up
from tests.harness.builders import NOON, a_commit, a_conversation, appended, begun
from tests.harness.encryption import MASTERS
from tests.harness.erasures import ADA, TRACES, live_in, town
from tests.harness.restoring import restored_directly

ONE = a_conversation("one")


class Time:
    """Monotonic time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def said_by(sequence: int, user: str) -> MessageAppended:
    event = appended(ONE, sequence, f"m{sequence}")
    message = SessionMessage(
        key=event.message.key,
        message_id=f"m{sequence}",
        role=Role.USER,
        sent_at=NOON,
        content=TextContent(text=f"{user} said this"),
    )
    return event.model_copy(update={"message": message, "actor": user})


async def backup_of(store: Store, folder: Path) -> BackupReader:
    place = open_backups(f"file://{folder}", keys=keys_of(store))
    return BackupReader(place, await backed_up(store, place))


def seen_with(store: Store, reader: BackupReader, folder: Path) -> BackupReader:
    """Return a backup as whoever has a store's keys sees it."""
    return BackupReader(open_backups(f"file://{folder}"), reader.manifest, keys=keys_of(store))


async def texts(reader: BackupReader) -> list[str]:
    """Return what the messages in a backup say."""
    return [
        event.message.content.text
        async for one in reader.conversations()
        async for commit in one.commits
        for event in commit.events
        if isinstance(event, MessageAppended) and isinstance(event.message.content, TextContent)
    ]


async def erase_by_key(store: EncryptedStore, time: Time, user: str) -> None:
    assert store.keys is not None
    assert await store.keys.retire([of_user(user)])
    time.now += SURELY_NOTICED
    assert await store.keys.destroy([of_user(user)])


async def new_store(time: Time) -> EncryptedStore:
    store = EncryptedStore(MemoryStore(), MASTERS, monotonic=time)
    await store.start()
    return store


async def test_who_is_erased_after_a_restore_can_not_be_read_in_the_backup_either(tmp_path: Path) -> None:
    time = Time()
    first = await new_store(time)
    said = [said_by(sequence, user) for sequence, user in ((2, "ann"), (3, "bob"), (4, "eve"))]
    await first.log.append([a_commit(ONE, 1, events=[begun(ONE), *said])])
    oldest = await backup_of(first, tmp_path / "1")

    second = await new_store(time)
    await restored_directly(second, seen_with(second, oldest, tmp_path / "1"))
    assert len(await texts(seen_with(second, oldest, tmp_path / "1"))) == 3
    await erase_by_key(second, time, "ann")
    assert await texts(seen_with(second, oldest, tmp_path / "1")) == ["", "bob said this", "eve said this"]
    later = await backup_of(second, tmp_path / "2")

    # The keys of both stores come along, however often.
    third = await new_store(time)
    await restored_directly(third, seen_with(third, later, tmp_path / "2"))
    await restored_directly(third, seen_with(third, later, tmp_path / "2"))
    await erase_by_key(third, time, "bob")
    for reader, folder in ((oldest, "1"), (later, "2")):
        assert await texts(seen_with(third, reader, tmp_path / folder)) == ["", "", "eve said this"]
    third_log = await third.log.read(ONE, limit=10)
    assert [event.message.content for event in third_log[0].events if isinstance(event, MessageAppended)] == [
        TextContent(text=""),
        TextContent(text=""),
        TextContent(text="eve said this"),
    ]
    assert third.keys is not None
    others = [one.name async for one in third.keys.all() if one.name.startswith("index.")]
    assert sorted(others) == ["index.1", "index.2"]


async def test_the_keys_of_who_was_erased_before_the_restore_do_not_come_back(tmp_path: Path) -> None:
    """What says so is in the archive's notes; in the backup her keys are those of then."""
    time = Time()
    source = EncryptedStore(MemoryStore(), MASTERS, monotonic=time)
    async with town(source, f"file://{tmp_path}/archive") as there:

        async def wait(seconds: float) -> None:
            time.now += seconds

        there.erasing.wait = wait
        await live_in(there)
        reader = await backup_of(source, tmp_path / "backups")
        await erase_user(there.erasing, ADA)
        target = await new_store(time)
        seen = seen_with(target, reader, tmp_path / "backups")
        erasures = Erasures(await Receipts.load(target, there.archive))
        await restored_directly(target, seen, erasures)
        shown = " ".join(await texts(seen))
        assert "welcome to the lobby" in shown
        assert not [trace for trace in TRACES if trace in shown]


async def test_without_keys_nothing_is_touched(tmp_path: Path) -> None:
    source = await new_store(Time())
    await source.log.append([a_commit(ONE, 1, events=[begun(ONE)])])
    reader = await backup_of(source, tmp_path)
    target = MemoryStore()
    with pytest.raises(BackupRefused, match="is encrypted: give the master keys by AGENTBUS_ENCRYPTION_KEYS"):
        await restored_directly(target, seen_with(target, reader, tmp_path))
    empty = MemoryStore()
    assert vars(target.records) == vars(empty.records)
