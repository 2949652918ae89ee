"""What was erased stays erased when an old backup is restored: into the store itself, and into an empty one."""

from pathlib import Path

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.ids import conversation_of
from agentbus.contracts.recovery import Outcome, RestoredSession
from agentbus.contracts.session import SessionStatus
from agentbus.storage.backup import BackupReader
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.domain.redaction import is_erased
from agentbus.workers.erasure.users import erase_user, find_user
from agentbus.workers.recovery import Erasures, RecoveryOptions, Target, restore
from tests.harness.backups import backed_up, backups_in
from tests.harness.erasures import ADA, TRACES, Town, everything_in, live_in, town
from tests.harness.restoring import texts_of


async def backed_up_town(there: Town, folder: Path) -> BackupReader:
    """Let people live, make a backup, and erase one of them."""
    await live_in(there)
    place = backups_in(folder)
    reader = BackupReader(place, await backed_up(there.store, place))
    await erase_user(there.erasing, ADA)
    return reader


async def restored(there: Town, store: Store, reader: BackupReader, strategy: str = "merge") -> list[RestoredSession]:
    target = Target(store=store, commands=there.erasing.commands, topology=there.bus.topology, clock=SystemClock())
    erasures = Erasures(await Receipts.load(store, there.archive))
    steps = restore(target, reader, RecoveryOptions(strategy=strategy), erasures)
    return [step async for step in steps if isinstance(step, RestoredSession)]


async def test_nothing_of_theirs_comes_back_into_the_store(tmp_path: Path) -> None:
    async with town(MemoryStore(), f"file://{tmp_path / 'archive'}") as there:
        reader = await backed_up_town(there, tmp_path / "backups")
        own, lobby, bob = (there.sessions[name] for name in ("ada", "lobby", "bob"))
        for strategy in ("merge", "replace", "skip"):
            rows = {row.session_id: row for row in await restored(there, there.store, reader, strategy)}
            assert rows[own].outcome is Outcome.SKIPPED
            assert rows[bob].outcome is Outcome.SAME
            assert Outcome.FAILED not in {row.outcome for row in rows.values()}
        head = await there.store.heads.get(own)
        assert head
        assert is_erased(head)
        assert any("welcome" in text for text in await texts_of(there.store, lobby))
        left = await find_user(there.erasing, ADA)
        assert not left.own | left.shared
        assert not left.archived | left.parked_ids


async def test_nothing_of_theirs_comes_back_into_an_empty_store(tmp_path: Path) -> None:
    """The store is lost, and with it the receipt; the archive's notes have it too."""
    archive = f"file://{tmp_path / 'archive'}"
    async with town(MemoryStore(), archive) as there:
        reader = await backed_up_town(there, tmp_path / "backups")
        folder = tmp_path / "store"
        folder.mkdir()
        async with open_store(f"sqlite:///{folder / 'restored.db'}") as store:
            rows = {row.session_id: row for row in await restored(there, store, reader)}
            for known in ("ada", "ada archived", "ada on slack"):
                session = there.sessions[known]
                assert rows[session].outcome is Outcome.SKIPPED, known
                assert await store.heads.get(session) is None
                assert not await store.log.read(conversation_of(session), limit=1)
            texts = await texts_of(store, there.sessions["lobby"])
            assert texts[0] == "welcome to the lobby"
            assert "" in texts
            assert await texts_of(store, there.sessions["bob"]) == ["I am Bob"]
            head = await store.heads.get(there.sessions["attic"])
            assert head
            assert head.status is SessionStatus.ARCHIVED
        kept = everything_in(folder)
        found = [trace for trace in TRACES if trace.encode() in kept]
        assert not found
        assert b"I am Bob" in kept
