"""The archive's files: written, read back, verified, damaged."""

import gzip
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import (
    ArchiveDamaged,
    ArchiveNotFound,
    ArchiveUnavailable,
    ConfigurationError,
    TransitionForbidden,
)
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveEntry, ArchiveStore, open_archive
from agentbus.storage.archive import store as in_store
from agentbus.storage.archive.writing import Writing
from agentbus.storage.encryption import DataKeys, LocalMasterKeys
from agentbus.storage.memory import MemoryStore
from tests.harness.builders import a_commit, a_conversation, a_head, appended

CONVERSATION = a_conversation("archived")


@pytest.fixture(params=["file", "memory"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> ArchiveStore:
    return open_archive(f"file://{tmp_path}/archive" if request.param == "file" else f"memory://{uuid4().hex}/archive")


def a_log(messages: int = 5) -> list[Commit]:
    """Return a session's commits; the last one begins the conversation's next session as well."""
    commits = [
        a_commit(CONVERSATION, number, events=[appended(CONVERSATION, number, f"m{number}")])
        for number in range(1, messages + 1)
    ]
    following = appended(CONVERSATION, 1, "next", generation=2)
    commits[-1] = commits[-1].model_copy(update={"events": (*commits[-1].events, following)})
    return commits


def an_ended(messages: int = 5) -> SessionState:
    head = a_head(CONVERSATION, version=messages, status=SessionStatus.EXPIRED, data={"order": [1, {"a": None}]})
    return head.model_copy(update={"sequence": messages, "message_count": messages})


async def iterated(commits: Sequence[Commit]) -> AsyncIterator[Commit]:
    for commit in commits:
        yield commit


async def written(archive: ArchiveStore, messages: int = 5) -> ArchiveEntry:
    ref = await archive.write(an_ended(messages), iterated(a_log(messages)))
    return await archive.find(an_ended().session_id, ref.digest)


def file_of(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "archive" / "sessions").rglob("*.jsonl.gz")
    return found


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def local(tmp_path: Path) -> ArchiveStore:
    return open_archive(f"file://{tmp_path}/archive")


async def test_a_session_is_read_back_as_it_was_written(archive: ArchiveStore) -> None:
    ref = await archive.write(an_ended(), iterated(a_log()))
    entry = await archive.find(an_ended().session_id)
    assert (entry.digest, entry.url, entry.sequence) == (ref.digest, ref.url, 5)
    assert (ref.messages, ref.sequence) == (5, 5)
    contents = await archive.verify(entry)
    assert (contents.head, contents.commits, contents.events) == (an_ended(), 5, 5)
    commits = [commit async for commit in archive.commits(entry)]
    assert [commit.events for commit in commits] == [commit.events[:1] for commit in a_log()]
    assert [commit.inputs for commit in commits] == [commit.inputs for commit in a_log()]
    assert await archive.head(entry) == an_ended()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_long_session_is_written_piece_by_piece_as_it_would_be_at_once(
    tmp_path: Path, encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with MemoryStore() as store:
        keys = DataKeys(store.records, LocalMasterKeys({"first": b"1" * 32}), SystemClock()) if encrypted else None
        if keys:
            await keys.start(None)
        refs: list[ArchiveRef] = []
        for size in (1 << 20, 500, 1):
            monkeypatch.setattr(in_store, "_BUFFER", size)
            archive = open_archive(f"file://{tmp_path}/{size}", keys=keys)
            refs.append(await archive.write(an_ended(), iterated(a_log())))
            entry = await archive.find(an_ended().session_id)
            assert await archive.is_encrypted(entry) is encrypted
            assert (await archive.verify(entry)).head == an_ended()
            assert [path.name for path in files_in(tmp_path / str(size))] == [f"5-{entry.digest}.jsonl.gz"]
    assert {(ref.digest, ref.sequence, ref.messages) for ref in refs} == {(refs[0].digest, 5, 5)}


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["at once", "piece by piece"])
@pytest.mark.parametrize("broken", ["cut off", "gone"])
async def test_what_does_not_read_back_as_written_is_told_and_does_not_stay(
    local: ArchiveStore, tmp_path: Path, size: int, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that says that it has written, and has not."""
    monkeypatch.setattr(in_store, "_BUFFER", size)
    finish = Writing.finish

    def finish_badly(writing: Writing, name: str) -> None:
        finish(writing, name)
        if broken == "gone":
            file_of(tmp_path).unlink()
        else:
            file_of(tmp_path).write_bytes(file_of(tmp_path).read_bytes()[:-9])

    monkeypatch.setattr(Writing, "finish", finish_badly)
    with pytest.raises(ArchiveDamaged, match="does not read back as written"):
        await local.write(an_ended(), iterated(a_log()))
    assert files_in(tmp_path) == []


async def test_the_same_session_gives_the_same_file(local: ArchiveStore, tmp_path: Path) -> None:
    await written(local)
    first = file_of(tmp_path).read_bytes()
    await written(local)
    assert file_of(tmp_path).read_bytes() == first


async def test_what_is_archived_is_listed_and_deleted(archive: ArchiveStore) -> None:
    assert [entry async for entry in archive.entries()] == []
    entry = await written(archive)
    assert [one async for one in archive.entries()] == [entry]
    assert [one async for one in archive.sessions()] == [entry.session_id]
    assert await archive.delete(entry.session_id)
    assert not await archive.delete(entry.session_id)
    assert [one async for one in archive.entries()] == []
    with pytest.raises(ArchiveNotFound, match="agentbus archive list"):
        await archive.find(entry.session_id)
    with pytest.raises(ArchiveNotFound):
        await archive.verify(entry)


async def test_a_session_archived_again_does_not_overwrite_what_is_there(archive: ArchiveStore) -> None:
    short = await written(archive, 3)
    longer = await written(archive, 6)
    assert await archive.entries_of(short.session_id) == [longer, short]
    assert await archive.find(short.session_id) == longer
    assert await archive.delete_file(short)
    assert await archive.entries_of(short.session_id) == [longer]


async def test_a_log_with_a_gap_is_refused_and_nothing_is_left(local: ArchiveStore, tmp_path: Path) -> None:
    """Somebody else archived it meanwhile: a hollow file must never stand beside, or for, the whole one."""
    commits = a_log()
    del commits[2]
    with pytest.raises(TransitionForbidden, match="gap at"):
        await local.write(an_ended(), iterated(commits))
    assert files_in(tmp_path) == []


async def test_a_failing_read_leaves_nothing_behind(local: ArchiveStore, tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[Commit]:
        yield a_log()[0]
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        await local.write(an_ended(), failing())
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("part", ["bytes", "end", "line", "event", "trailer", "more", "not gzip", "header", "head"])
async def test_damage_is_found(local: ArchiveStore, tmp_path: Path, part: str) -> None:
    entry = await written(local)
    path = file_of(tmp_path)
    raw = path.read_bytes()
    lines = gzip.decompress(raw).splitlines(keepends=True)
    match part:
        case "bytes":
            damaged = raw[: len(raw) // 2] + b"\x00\x01" + raw[len(raw) // 2 + 2 :]
        case "end":
            damaged = raw[:-20]
        case "line":
            damaged = gzip.compress(b"".join(lines[:3] + lines[4:]))
        case "event":
            damaged = gzip.compress(b"".join(lines).replace(b"says m2", b"says mX"))
        case "trailer":
            damaged = gzip.compress(b"".join(lines[:-1]))
        case "more":
            damaged = gzip.compress(b"".join([*lines, b"{}\n"]))
        case "not gzip":
            damaged = b"what is this?"
        case "header":
            damaged = gzip.compress(b"".join([lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]]))
        case _:
            damaged = gzip.compress(b"".join([lines[0], b'{"head":{"conversation_id":"x"}}\n', *lines[2:]]))
    path.write_bytes(damaged)
    with pytest.raises(ArchiveDamaged, match=entry.digest):
        await local.verify(entry)
    with pytest.raises(ArchiveDamaged):
        _ = [commit async for commit in local.commits(entry)]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "..", "A" * 26 + ".1", "a" * 26 + ".0"])
async def test_no_name_leads_out_of_the_folder(local: ArchiveStore, name: str) -> None:
    for call in (local.find(SessionId(name)), local.delete(SessionId(name)), local.entries_of(SessionId(name))):
        with pytest.raises(ValueError, match="no session id"):
            await call
    with pytest.raises(ValueError, match="no name of a note"):
        await local.put_note(f"../{name}", b"{}")


async def test_foreign_files_are_passed_over(local: ArchiveStore, tmp_path: Path) -> None:
    entry = await written(local)
    folder = file_of(tmp_path).parent
    (folder / "README.txt").write_text("mine")
    (folder / "tmp-left-over").write_text("half")
    (folder.parent / "lost+found").mkdir()
    assert [one async for one in local.entries()] == [entry]
    await local.delete_left_overs(entry.session_id)
    assert sorted(path.name for path in folder.iterdir()) == sorted([file_of(tmp_path).name, "README.txt"])


async def test_a_place_that_can_not_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    archive = open_archive(f"file://{tmp_path}/file/archive")
    with pytest.raises(ArchiveUnavailable, match="file/archive"):
        await archive.write(an_ended(), iterated(a_log()))


def test_an_unknown_kind_of_url_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_archive("nowhere://archive")


def test_credentials_are_not_shown() -> None:
    assert "secret" not in open_archive("memory://user:secret@host/archive").place


async def test_notes_are_kept_beside_the_sessions(archive: ArchiveStore) -> None:
    assert await archive.note("salt") is None
    assert await archive.notes() == []
    await archive.put_note("salt", b'{"a":1}')
    await archive.put_note("salt", b'{"a":2}')
    assert await archive.note("salt") == b'{"a":2}'
    assert await archive.notes() == ["salt"]
    assert [entry async for entry in archive.entries()] == []
