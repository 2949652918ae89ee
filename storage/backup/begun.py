"""A backup that is not finished: how far it is, in a file of its own, so that another run goes on from there."""

from datetime import datetime
from typing import Final

from pydantic import Field

from agentbus.contracts.backup import BackupFormat, BackupId, Counts, Description, FileRef, Group, Layer, is_backup_id
from agentbus.contracts.base import Announced, Id, Many, Timestamp
from agentbus.contracts.errors import BackupDamaged, BackupNotFound, BackupRefused
from agentbus.storage.backup.place import BEGUN, BackupPlace, read_line

_LARGEST: Final = 64 << 20


class Begun(Announced):
    """How far a backup is that is not finished."""

    backup_id: BackupId
    run: str = Field(description="Of the run that works on it: made up at its start.")
    created_at: Timestamp
    updated_at: Timestamp
    source: str
    epoch: int = Field(ge=0)
    file_format: BackupFormat
    encrypted: bool = False
    description: Description = ""
    tags: Many[Id] = ()
    incremental: bool = Field(default=False, description="Whether it was to be.")
    base: BackupId | None = Field(default=None, description="The backup that it goes on from, if it is incremental.")
    guarded: Many[Layer] = Field(default=(), description="Whose files it names, or may: they are not swept.")
    part: str = Field(default="", description="The part that is being written.")
    cursor: str | None = Field(default=None, description="Where the part's next page begins.")
    pages: Many[FileRef] = ()
    groups: Many[Group] = Field(default=(), description="Those that are on no page yet.")
    counts: Counts = Counts()
    written: int = Field(default=0, ge=0)
    size: int = Field(default=0, ge=0)


async def all_begun(place: BackupPlace) -> list[Begun]:
    """Return all backups that are not finished, the latest first. One whose file is damaged is passed over.

    What says so of one that is finished, as its run ended just then, is removed.
    """
    names = [name for name, _ in await place.folder.names(BEGUN)]
    finished = await place.finished() if names else frozenset[str]()
    found: list[Begun] = []
    for name in sorted(names, reverse=True):
        backup_id = name.removesuffix(".json")
        if backup_id in finished:
            await give_up(place, backup_id)
        elif is_backup_id(backup_id) and name.endswith(".json"):
            try:
                found.append(await read_begun(place, backup_id))
            except (BackupDamaged, BackupNotFound):
                continue
    return found


async def read_begun(place: BackupPlace, backup_id: str) -> Begun:
    """Return how far a backup is. Raises BackupNotFound if it is not under way, BackupDamaged."""
    path = _path(backup_id)
    return read_line(Begun, await place.folder.read(path, _LARGEST), path)


async def claim(place: BackupPlace, begun: Begun) -> None:
    """Say that a run works on a backup from now on: one that did so before ends at its next `note`."""
    await place.folder.write(_path(begun.backup_id), begun.model_dump_json().encode())


async def note(place: BackupPlace, begun: Begun, now: datetime) -> Begun:
    """Note how far a backup is. Raises BackupRefused if another run works on it, or it was given up."""
    await still_ours(place, begun)
    begun = begun.model_copy(update={"updated_at": now})
    await claim(place, begun)
    return begun


async def still_ours(place: BackupPlace, begun: Begun) -> None:
    """Raise BackupRefused if another run works on a backup, or it was given up."""
    try:
        kept = await read_begun(place, begun.backup_id)
    except BackupNotFound:
        raise BackupRefused(f"backup {begun.backup_id} was given up meanwhile: begin another one") from None
    if kept.run != begun.run:
        raise BackupRefused(f"another run goes on with backup {begun.backup_id}, in this one's place")


async def give_up(place: BackupPlace, backup_id: str) -> None:
    """Let a backup that is not finished be none, or one that is finished be no longer under way."""
    await place.folder.remove(_path(backup_id))


def _path(backup_id: str) -> str:
    return f"{BEGUN}/{backup_id}.json"
