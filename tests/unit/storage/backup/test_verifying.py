"""Verifying finds each byte that is not as it was written, and each file that is missing or too many, and names it."""

from contextlib import suppress
from pathlib import Path

import pytest

from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import BackupDamaged, BackupNotFound, BackupRefused
from agentbus.storage.backup import BackupPlace, BackupReader
from agentbus.storage.backup.sweeping import sweep
from agentbus.storage.memory import MemoryStore
from tests.harness.backups import backed_up, backups_in, faults_of, put_back
from tests.harness.builders import a_commit, a_conversation, appended, begun

ONE = a_conversation("one")


@pytest.fixture
def place(tmp_path: Path) -> BackupPlace:
    return backups_in(tmp_path)


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.log.append([a_commit(ONE, 1, events=[begun(ONE)])])
    return store


@pytest.fixture(params=[BackupFormat.JSON, BackupFormat.PICKLE_GZ])
async def manifest(request: pytest.FixtureRequest, store: MemoryStore, place: BackupPlace) -> Manifest:
    """Return an incremental backup, with a full one below it."""
    await backed_up(store, place, request.param)
    await store.log.append([a_commit(ONE, 2, events=[appended(ONE, 2, "m")])])
    return await backed_up(store, place, request.param, incremental=True)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_a_byte_that_was_flipped_in_any_file_is_found_and_the_file_named(
    tmp_path: Path, place: BackupPlace, manifest: Manifest
) -> None:
    files = files_in(tmp_path)
    assert len(files) == 2 * 4
    for file in files:
        sound = file.read_bytes()
        for offset in {0, 1, len(sound) // 3, len(sound) // 2, len(sound) - 1}:
            flipped = bytearray(sound)
            flipped[offset] ^= 0x01
            file.write_bytes(flipped)
            assert list(await faults_of(place)) == [str(file.relative_to(tmp_path))]
        file.write_bytes(sound)
    assert await faults_of(place, manifest.backup_id) == {}


async def test_a_file_that_is_missing_cut_off_or_longer_is_found(
    tmp_path: Path, place: BackupPlace, manifest: Manifest
) -> None:
    for file in files_in(tmp_path / "files"):
        name, sound = str(file.relative_to(tmp_path)), file.read_bytes()
        file.unlink()
        assert await faults_of(place) == {name: f"{name} is missing"}
        for other in (sound[:-1], b"", sound + b"\n"):
            file.write_bytes(other)
            assert "bytes in place of" in (await faults_of(place))[name]
        file.write_bytes(sound)
    (missing,) = (tmp_path / "backups").glob(f"{manifest.backup_id}.*")
    missing.unlink()
    with pytest.raises(BackupNotFound, match="there is no backup"):
        await faults_of(place, manifest.backup_id)
    assert all("belongs to no backup" in reason for reason in (await faults_of(place)).values())


@pytest.mark.usefixtures("manifest")
async def test_a_file_too_many_is_found(tmp_path: Path, place: BackupPlace) -> None:
    home = next(path for path in (tmp_path / "files").iterdir())
    extra = [tmp_path / "notes.txt", tmp_path / "backups" / "copy.json", home / "0.json"]
    for file in extra:
        file.write_text("{}")
    assert set(await faults_of(place)) == {str(file.relative_to(tmp_path)) for file in extra}
    assert (await sweep(place, ManualClock().now())).files == 1
    assert extra[0].exists()


@pytest.mark.usefixtures("manifest")
async def test_what_is_named_can_not_be_told_from_damage_so_nothing_is_swept(
    tmp_path: Path, place: BackupPlace
) -> None:
    for file in files_in(tmp_path):
        sound = file.read_bytes()
        file.write_bytes(b"x" + sound[1:])
        before = files_in(tmp_path)
        with suppress(BackupDamaged, BackupRefused):  # What only holds things does not have to be read for it.
            await sweep(place, ManualClock().now())
        assert files_in(tmp_path) == before
        file.write_bytes(sound)


async def test_a_reader_refuses_what_was_changed(tmp_path: Path, place: BackupPlace, manifest: Manifest) -> None:
    files = files_in(tmp_path / "files" / manifest.backup_id)
    assert len(files) == 3
    for file in files:
        sound = file.read_bytes()
        file.write_bytes(sound[:-2] + b"!" + sound[-1:])
        with pytest.raises(BackupDamaged, match=str(file.relative_to(tmp_path))):
            await put_back(BackupReader(place, manifest))
        file.write_bytes(sound)
