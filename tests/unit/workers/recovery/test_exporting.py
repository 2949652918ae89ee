"""One session in a file: every format comes back, what is no such file is refused, and nothing is done before."""

import gzip
import pickle
from pathlib import Path

import pytest
import zstandard

from agentbus.contracts.backup import BackupFormat
from agentbus.contracts.errors import BackupDamaged, BackupError, BackupNotFound, BackupRefused, SessionNotFound
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.recovery import Outcome, RestoredSession
from agentbus.storage.archive import open_archive
from agentbus.storage.backup import exported
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.recovery import RecoveryOptions
from agentbus.workers.recovery.exporting import convert_exported, export_session, import_session
from agentbus.workers.recovery.running import Restoring
from tests.harness.conversations import CONVERSATION
from tests.harness.restoring import erasures_of, head_of, say, some_conversations, target_of, texts_of
from tests.unit.workers.session.test_worker import Bench, running

SIGNING = b"k" * 32
FORMATS = list(BackupFormat)


async def imported(bench: Bench, path: Path, signing: bytes | None = SIGNING) -> RestoredSession:
    restoring = Restoring(target_of(bench), RecoveryOptions(), await erasures_of(bench.store), "import-1")
    return await import_session(restoring, path, signing)


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def an_export(
    folder: Path, form: BackupFormat = BackupFormat.JSON, *, chat: str = "two", number: int = 2
) -> Path:
    """Return a file with the second session of a conversation."""
    path = folder / f"session.{exported.suffix_of(form)}"
    async with running() as bench:
        session = session_id_for((await some_conversations(bench))[chat], number)
        await export_session(bench.store, None, session, path, form, signing=SIGNING)
    return path


@pytest.mark.parametrize("form", FORMATS)
async def test_a_session_comes_back_from_every_format(tmp_path: Path, form: BackupFormat) -> None:
    path = await an_export(tmp_path, form)
    async with running() as bench:
        row = await imported(bench, path)
        assert row.outcome is Outcome.CREATED
        head = await head_of(bench.store, row.session_id)
        assert (head.generation, head.data) == (2, {"second": True})
        assert await texts_of(bench.store, row.session_id) == ["again"]
        assert (await imported(bench, path)).outcome is Outcome.SAME
        await say(bench, "two", "on", message_id="two-r2")  # known: it was said before the export
        assert (await head_of(bench.store, row.session_id)).message_count == head.message_count
        assert names_in(tmp_path) == [path.name]


async def test_where_it_still_is_it_is_the_same_and_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    async with running() as bench:
        conversation = (await some_conversations(bench))["two"]
        session = session_id_for(conversation, 2)
        await export_session(bench.store, None, session, path, BackupFormat.JSON)
        assert (await imported(bench, path)).outcome is Outcome.SAME
        await say(bench, "two", "later")
        assert (await imported(bench, path)).outcome is Outcome.SAME
        assert await texts_of(bench.store, session) == ["again", "later"]


async def test_an_archived_session_is_exported_from_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "it.json.gz"
    archive = open_archive(f"file://{tmp_path / 'archive'}")
    async with running() as bench:
        session = session_id_for((await some_conversations(bench))["ended"], 1)
        await archive_session(bench.store, archive, Inputs(bench.bus), await head_of(bench.store, session))
        await export_session(bench.store, archive, session, path, BackupFormat.JSON_GZ)
    async with running() as bench:
        assert (await imported(bench, path)).outcome is Outcome.CREATED
        assert await texts_of(bench.store, session) == ["hello ended", "hi ended"]


async def test_an_export_can_be_written_in_another_format(tmp_path: Path) -> None:
    path = await an_export(tmp_path)
    for form in FORMATS:
        other = tmp_path / f"other.{form}"
        await convert_exported(path, other, form, SIGNING)
        back = tmp_path / f"back.{form}"
        await convert_exported(other, back, BackupFormat.JSON, SIGNING)
        assert back.read_bytes() == path.read_bytes()


async def test_a_session_that_is_not_there_is_not_exported(tmp_path: Path) -> None:
    async with running() as bench:
        with pytest.raises(SessionNotFound):
            await export_session(
                bench.store,
                None,
                session_id_for(CONVERSATION, 1),
                tmp_path / "it",
                BackupFormat.JSON,
            )
        assert not names_in(tmp_path)


async def test_a_pickle_is_signed_and_nothing_else_is_read(tmp_path: Path) -> None:
    path = await an_export(tmp_path, BackupFormat.PICKLE)
    hostile = tmp_path / "hostile.pickle"
    hostile.write_bytes(pickle.dumps(Path))
    async with running() as bench:
        for signing in (None, b"another key, as long as it must be"):
            with pytest.raises(BackupRefused):
                await imported(bench, path, signing)
        with pytest.raises(BackupError):
            await imported(bench, hostile)
        session = session_id_for((await some_conversations(bench))["two"], 2)
        with pytest.raises(BackupRefused):
            await export_session(bench.store, None, session, tmp_path / "unsigned", BackupFormat.PICKLE)
        assert not (tmp_path / "unsigned").exists()


async def test_what_is_no_export_or_a_damaged_one_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    path = await an_export(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    wrong = {
        "empty": b"",
        "chat": b"[12:00] <ann> hello\n",
        "json": b'{"messages": []}\n',
        "cut": whole[:-10],
        "no end": b"".join(lines[:-1]),
        "gap": b"".join([*lines[:2], *lines[3:]]),
        "gzip": gzip.compress(whole)[:-20],
        "zst, cut": zstandard.compress(whole)[:-20],
        "zst, another": zstandard.compress(whole)[:8] + b"\x00" * 100,
        "deep": b"[" * 100_000,
    }
    async with running() as bench:
        for name, data in wrong.items():
            other = tmp_path / "wrong.json"
            other.write_bytes(data)
            with pytest.raises(BackupDamaged):
                await imported(bench, other)
            assert not await bench.store.log.conversations(limit=1), name
        with pytest.raises(BackupNotFound):
            await imported(bench, tmp_path / "missing.json")


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running() as bench:
        session = session_id_for((await some_conversations(bench))["two"], 2)
        with pytest.raises(BackupError):
            await export_session(bench.store, None, session, Path("/dev/full/it.json"), BackupFormat.JSON)
        with pytest.raises(BackupNotFound):
            await export_session(bench.store, None, session, tmp_path / "no" / "it.json", BackupFormat.JSON)
