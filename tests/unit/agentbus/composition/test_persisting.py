"""What was erased stays erased, whichever is older: the backup that is restored, or the store that it goes to."""

import copy
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentbus.composition.app import App
from agentbus.composition.persisting import restore_into
from agentbus.contracts.backup import Manifest
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.recovery import Outcome, RestoredSession
from agentbus.settings import load_settings
from agentbus.storage.archive import open_archive
from agentbus.storage.backup import BackupPlace
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.erasure.users import erase_user, find_user
from agentbus.workers.recovery import RecoveryOptions
from agentbus.workers.session.worker import SessionWorker
from tests.harness.backups import backed_up, backups_in, held_by
from tests.harness.erasures import ADA, BOB, TRACES, Town, live_in, said, town


class Lives:
    """Some people, backups from before and after one of them was erased, store and archive as they were before that."""

    def __init__(self, folder: Path, there: Town, before: Manifest, after: Manifest, older: MemoryStore) -> None:
        self.folder, self.there, self.before, self.after, self.older = folder, there, before, after, older

    @property
    def place(self) -> BackupPlace:
        return backups_in(self.folder / "backups")


@asynccontextmanager
async def lives(folder: Path) -> AsyncIterator[Lives]:
    store, place = MemoryStore(), backups_in(folder / "backups")
    async with town(store, f"file://{folder}/archive") as there:
        await live_in(there)
        before = await backed_up(store, place)
        older = copy.deepcopy(store)
        shutil.copytree(folder / "archive", folder / "older")
        await erase_user(there.erasing, ADA)
        yield Lives(folder, there, before, await backed_up(store, place), older)


@asynccontextmanager
async def at_work(store: Store) -> AsyncIterator[App]:
    settings = load_settings()
    async with MemoryBus(settings.topology) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store)
        await worker.start()
        try:
            yield App(settings=settings, bus=bus, store=store, clock=SystemClock())
        finally:
            await worker.close()


async def restored(app: App, there: Lives, manifest: Manifest, archive: str = "lost") -> dict[str, RestoredSession]:
    """Restore a backup where the archive, and what it knows of erasures, is another one."""
    archived = open_archive(f"file://{there.folder}/{archive}")
    steps = restore_into(app, there.place, manifest, archived, RecoveryOptions())
    return {step.session_id: step async for step in steps if isinstance(step, RestoredSession)}


async def traces_in(store: MemoryStore) -> list[str]:
    kept = repr([vars(getattr(store, section)) for section in Store.__annotations__])
    return [trace for trace in TRACES if trace in kept]


async def test_a_later_backup_tells_who_was_erased_since_the_one_that_is_restored(tmp_path: Path) -> None:
    async with lives(tmp_path) as there:
        store = MemoryStore()
        async with at_work(store) as app:
            rows = await restored(app, there, there.before)
            sessions = there.there.sessions
            assert rows[sessions["ada"]].outcome is Outcome.SKIPPED
            assert rows[sessions["bob"]].outcome is Outcome.CREATED
            assert await traces_in(store) == []
            assert (await Receipts.load(store, None)).erased_at(ADA) is not None


async def test_who_was_erased_by_the_backup_is_erased_from_a_store_that_is_older(tmp_path: Path) -> None:
    async with lives(tmp_path) as there:
        store = there.older
        assert await traces_in(store) != []
        async with at_work(store) as app:
            for _ in range(2):
                rows = await restored(app, there, there.after, "older")
                assert Outcome.FAILED not in {row.outcome for row in rows.values()}
                assert await traces_in(store) == []
            assert (await Receipts.load(store, None)).erased_at(ADA) is not None
            held = await held_by(store)
            await restored(app, there, there.after, "older")
            again = await held_by(store)
            assert (again["digest"], again["sessions"]) == (held["digest"], held["sessions"])


async def test_receipts_of_another_installation_are_gone_by_too(tmp_path: Path) -> None:
    """The store was lost and begun anew, and somebody was erased from it: it has a salt of its own."""
    async with lives(tmp_path) as there, town(MemoryStore(), f"file://{tmp_path}/new") as new:
        await new.settled(await new.publish(new.client, said_by_bob()))
        await erase_user(new.erasing, BOB)
        store = new.store
        async with at_work(store) as app:
            await restored(app, there, there.after)
            receipts = await Receipts.load(store, None)
            assert len(receipts.salts) == 2
            assert receipts.erased_at(ADA) is not None
            assert receipts.erased_at(BOB) is not None
            await restored(app, there, there.before)
            left = await find_user(new.erasing, ADA)
            assert not left.own | left.shared


def said_by_bob() -> InboundMessage:
    return said("n1", BOB, "I am new here", chat="new")
