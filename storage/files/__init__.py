"""The file store: readable JSON files in folders, for one machine; nothing to install, nothing to run.

It needs a POSIX system, and a local file system with hard links, symbolic links and `flock`: not NFS, not Windows. Any
number of processes of the machine may use it. The layout, below the folder of the URL:

    store.json                                   which layout this is
    conversations/ab/abcd.../                    a conversation, below the first two characters of its id
        log/000000/000000001.json                its commits, a folder per thousand versions
        inputs/<input id>                        symbolic link to the commit that holds the input
        amends/<message key>/000000002           symbolic links to the commits that amend the message
        latest                                   symbolic link to the head of its latest session
    heads/<session id>.json                      the head of each session
    parked/<parked id>/details.json              a parked input
    parked/<parked id>/body                      its original bytes
    members/<group>/<worker id>.json             a worker's last heartbeat
    epochs/<group>/<partition>.json              the last epoch given out
    trials/<key>.json                            tries of an input that may have killed its worker
    records/<kind>/<key>.json                    a checkpoint, a template
    groups/<kind>/<group>/<key>.json             symbolic links to the records of a group
    locks/<name>.json                            the last lease of a lock
    tmp/                                         files being written

Ids become file names as `agentbus.storage.files.layout.file_name` says. To back it up, copy the folder with its links
(`cp -a`).

**Whole files only.** A file is written in `tmp/`, synced, and then linked or renamed to its place, whose folder is
synced too. What a crash leaves in `tmp/` nobody reads, and a start an hour later removes it. A commit's place is made
by a hard link, which fails if there is one: no commit is replaced by mistake. Its links in `inputs` and `amends` are
made before it, so that they can't be missing; those that a crash left without their commit count for nothing, and are
replaced. Where commits are replaced on purpose, links that lead to them but are not theirs any more go last.

**One at a time.** Who changes a conversation, a parked input, a group's members or epochs, the trials, the records of a
kind or the locks holds a lock (`flock`) on its folder, which the kernel takes back when a process dies. Readers take
none.
"""

from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.files.base import Folder
from agentbus.storage.files.heads import FileHeads
from agentbus.storage.files.locks import FileLocks
from agentbus.storage.files.log import FileLog
from agentbus.storage.files.members import FileMembers
from agentbus.storage.files.parked import FileParked
from agentbus.storage.files.records import FileRecords
from agentbus.storage.port import Capabilities, Deleted, Reach, Store, StoreInfo, StoreOptions

__all__ = ["FileStore"]


@end_well(finished)
class FileStore(Store):
    """Keeps conversations in JSON files."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._folder = Folder(url, options)
        self.log = FileLog(self._folder)
        self.heads = FileHeads(self._folder)
        self.parked = FileParked(self._folder)
        self.members = FileMembers(self._folder)
        self.records = FileRecords(self._folder)
        self.locks = FileLocks(self._folder)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(reach=Reach.MACHINE, is_durable=True, deleted=Deleted.GONE)

    async def start(self) -> None:
        await self._folder.start()

    async def close(self) -> None:
        await self._folder.close()

    async def info(self) -> StoreInfo:
        return await self._folder.info()
