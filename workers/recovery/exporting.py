"""One session in a file, and back: exported from the store or the archive, imported through its owner."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from agentbus.contracts.backup import BackupFormat
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import ArchiveDamaged, BackupDamaged, SessionNotFound
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import SessionId, is_conversation
from agentbus.contracts.recovery import RestoredSession
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.archive.format import Reader, lines_of
from agentbus.storage.backup.exported import read_exported, write_exported
from agentbus.storage.backup.lines import SessionDigests
from agentbus.storage.port import Store
from agentbus.workers.archive.index import archived_entry
from agentbus.workers.archive.storing import log_of
from agentbus.workers.recovery.held import Held
from agentbus.workers.recovery.running import Restoring

_NO_FORMAT = "is no exported session: agentbus import takes chat histories, and sessions as agentbus export writes them"


async def export_session(
    store: Store,
    archive: ArchiveStore | None,
    session: SessionId,
    path: Path,
    form: BackupFormat,
    *,
    signing: bytes | None = None,
) -> None:
    """Write a session with its whole history to a file; one that was archived is read from the archive.

    Raises SessionNotFound, TransitionForbidden for one whose history has left the store, ArchiveError, StoreError;
    BackupUnavailable, BackupFull, BackupRefused for what can't be written.
    """
    head = await store.heads.get(session)
    if head is None or head.status is SessionStatus.DELETED:
        raise SessionNotFound(f"there is no session {session}; see: agentbus sessions list")
    if head.archive is not None and archive is not None:
        entry = await archived_entry(store, archive, head)
        lines = lines_of(await archive.head(entry), archive.commits(entry))
    else:
        lines = lines_of(head, log_of(store, head))
    async with aclosing(lines):  # type: ignore[type-var] # an async generator, whatever it is said to be
        await write_exported(path, lines, form, signing)


async def convert_exported(source: Path, path: Path, form: BackupFormat, signing: bytes | None = None) -> None:
    """Write an exported session in another format. Raises as `export_session` and `import_session` do."""
    async with aclosing(_checked(source, signing)) as items:
        async for _ in items:
            pass
    async with aclosing(read_exported(source, signing)) as lines:
        await write_exported(path, lines, form, signing)


async def import_session(restoring: Restoring, path: Path, signing: bytes | None = None) -> RestoredSession:
    """Bring an exported session into the store, as a restore of a backup that holds it alone would.

    The file is read to its end before anything is done. Raises BackupNotFound, BackupDamaged for what is no such
    file, BackupRefused, StoreError, BusError, ReplyTimeout.
    """
    async with held_export(path, signing) as held:
        return await restoring.session(held)


@asynccontextmanager
async def held_export(path: Path, signing: bytes | None) -> AsyncGenerator[Held, None]:
    """Hold an exported session while the body runs: its commits are numbered as they were."""
    heads: list[SessionState] = []
    digests = SessionDigests()

    async def commits(items: AsyncGenerator[SessionState | Commit, None]) -> AsyncGenerator[Commit, None]:
        async for item in items:
            if isinstance(item, Commit):
                digests.add(item)
                yield item
            else:
                heads.append(item)

    async with aclosing(_checked(path, signing)) as items:
        head = await anext(items, None)
        if not isinstance(head, SessionState):
            raise BackupDamaged(f"{path} {_NO_FORMAT}", file=str(path))
        found = Held(head.conversation_id, (), [head])
        try:
            await found.fill(commits(items))
            found.sessions = digests.marks({head.session_id: head})
            yield found
        finally:
            found.close()


async def _checked(path: Path, signing: bytes | None) -> AsyncGenerator[SessionState | Commit, None]:
    """Yield the head and the commits of a file. Raises BackupDamaged, at its end at the latest."""
    reader: Reader | None = None
    async with aclosing(read_exported(path, signing)) as lines:
        async for line in lines:
            try:
                reader = reader or Reader(_session_in(line, path), str(path))
                item = reader.feed(line)
            except ArchiveDamaged as damage:
                raise BackupDamaged(str(damage), file=str(path)) from None
            if item:
                yield item
    if reader is None:
        raise BackupDamaged(f"{path} {_NO_FORMAT}: it is empty", file=str(path))
    try:
        reader.contents()
    except ArchiveDamaged as damage:
        raise BackupDamaged(str(damage), file=str(path)) from None


def _session_in(line: bytes, path: Path) -> SessionId:
    header = None
    with suppress(ValueError, RecursionError):
        header = json_in(line)
    named = header.get("session_id") if isinstance(header, dict) else None
    if not isinstance(named, str) or not is_conversation(named.partition(".")[0]):
        raise BackupDamaged(f"{path} {_NO_FORMAT}", file=str(path))
    return SessionId(named)
