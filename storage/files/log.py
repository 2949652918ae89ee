"""The log in files: commits, and the links to them from their inputs and from the messages that they amend."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from agentbus.contracts.errors import DuplicateInput, StoreDamaged, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.files.base import AT_ONCE, FileSection, Folder
from agentbus.storage.files.disk import Temporaries, locked
from agentbus.storage.files.layout import (
    COMMITS_PER_FOLDER,
    JSON,
    ConversationFolder,
    Names,
    folder_of,
    make_folders,
    names_in,
)
from agentbus.storage.files.reading import pretty, read, read_if_sound
from agentbus.storage.paging import check_limit
from agentbus.storage.port import Loaded, Log
from agentbus.storage.wholeness import first_needed, loaded, reloaded


@end_well(finished)
class FileLog(FileSection, Log):
    """The section of the log."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._headed = Names(lambda session: session.rpartition(".")[0])

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        return await self._folder.call(partial(self._append, commits))

    def _append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        return [outcome for group in _groups(commits) for outcome in self._append_group(group)]

    def _append_group(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        """Append commits of different conversations, waiting for the disk twice for all of them."""
        folders = [self._folder.layout.conversation(commit.conversation_id) for commit in commits]
        for folder in folders:
            folder.make()
        outcomes: list[StoreError | None] = []
        unsynced: set[Path] = set()
        placed: set[Path] = set()
        with locked(folder.path for folder in folders), self._folder.disk.temporaries() as files:
            written: dict[int, Path] = {}
            for number, (folder, commit) in enumerate(zip(folders, commits, strict=True)):
                outcomes.append(_refusal(folder, commit))
                if outcomes[number] is None:
                    unsynced |= self._prepare(folder, commit)
                    written[number] = files.write(pretty(commit))
            self._folder.disk.sync(unsynced.union(written.values()))
            for number, file in written.items():
                place = folders[number].commit(commits[number].version)
                try:
                    place.hardlink_to(file)
                except FileExistsError:  # By somebody who does not know our lock.
                    outcomes[number] = VersionConflict()
                placed.add(place.parent)
            self._folder.disk.sync(placed)
        return outcomes

    def _prepare(self, folder: ConversationFolder, commit: Commit) -> set[Path]:
        """Make the place of a commit and the links to it; return the folders that were changed."""
        changed: set[Path] = set()
        place = folder.commit(commit.version)
        if not (place.parent / folder.commit(commit.version - 1).name).exists():
            # The first in its folder. Others need not see to the folders above: they were on the disk before it was.
            make_folders(folder.log, folder.inputs, place.parent)
            changed |= {*folder.entries(), folder.log}
        target = place.relative_to(folder.path)
        for input_id in dict.fromkeys(commit.inputs):
            self._folder.disk.point(folder.input(input_id), f"../{target}")
            changed.add(folder.inputs)
        for amended in map(folder.amending, commit.targets):
            make_folders(folder.amends, amended)
            self._folder.disk.point(amended / place.stem, f"../../{target}")
            changed |= {amended, folder.amends, folder.path}
        return changed

    async def replace(self, commits: Sequence[Commit]) -> None:
        await self._folder.call(partial(self._replace, commits))

    def _replace(self, commits: Sequence[Commit]) -> None:
        of_conversation: dict[ConversationId, list[Commit]] = {}
        for commit in commits:
            of_conversation.setdefault(commit.conversation_id, []).append(commit)
        for conversation, wanted in of_conversation.items():
            folder = self._folder.layout.conversation(conversation)
            if folder.path.exists():
                with locked([folder.path]), self._folder.disk.temporaries() as files:
                    self._put_in_place(folder, wanted, files)

    def _put_in_place(self, folder: ConversationFolder, wanted: Sequence[Commit], files: Temporaries) -> None:
        """Replace commits of one conversation, under its lock."""
        kept = [commit for commit in wanted if folder.commit(commit.version).exists()]
        for commit in kept:
            if any(_is_others(folder, one, commit) for one in commit.inputs):
                raise StoreRejected(f"another commit of {commit.conversation_id} holds an input of {commit.version}")
        changed = set().union(*(self._prepare(folder, commit) for commit in kept))
        written = [files.write(pretty(commit)) for commit in kept]
        self._folder.disk.sync(changed.union(written))
        places = [folder.commit(commit.version) for commit in kept]
        for file, place in zip(written, places, strict=True):
            file.rename(place)
        self._folder.disk.sync({place.parent for place in places})
        self._folder.disk.sync(_unlink_others(folder, kept))

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        return await self._folder.call(
            lambda: {conversation: self._load(conversation) for conversation in conversations}
        )

    def _load(self, conversation: ConversationId) -> Loaded:
        folder = self._folder.layout.conversation(conversation)
        head = read_if_sound(folder.latest, SessionState)
        if head is None and folder.latest.is_symlink():  # It was there.
            return reloaded(conversation, _commits(folder, 1, None))
        return loaded(head, _commits(folder, first_needed(head), None))

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        return await self._folder.call(partial(self._conversations, after or "", check_limit(limit)))

    def _conversations(self, after: str, limit: int) -> list[ConversationId]:
        """Look into the folders that names with the same beginning share, until there are enough."""
        found = self._headed.after(self._folder.layout.heads, after, limit)
        logged: set[str] = set()
        for shard in sorted(names_in(self._folder.layout.conversations)):
            if len(logged) < limit and shard >= after[: len(shard)]:
                logged |= {name for name in names_in(self._folder.layout.conversations / shard) if name > after}
        return [ConversationId(name) for name in sorted(logged.union(found))[:limit]]

    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        check_limit(limit)
        folder = self._folder.layout.conversation(conversation)
        return await self._folder.call(lambda: list(islice(_commits(folder, first, last, newest=newest), limit)))

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        folder = self._folder.layout.conversation(conversation)

        def look_up() -> Mapping[InputId, Commit]:
            found = ((input_id, _commit_of(folder, input_id)) for input_id in inputs)
            return {input_id: commit for input_id, commit in found if commit}

        return await self._folder.call(look_up)

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        folder = self._folder.layout.conversation(conversation)

        def look_up() -> list[Commit]:
            versions = {version for target in targets for version in _numbers(folder.amending(target))}
            found = (read(folder.commit(version), Commit) for version in sorted(versions))
            return [commit for commit in found if commit and not commit.targets.isdisjoint(targets)]

        return await self._folder.call(look_up)


def _groups(commits: Sequence[Commit]) -> Iterator[Sequence[Commit]]:
    """Split a batch into pieces of up to AT_ONCE commits, of different conversations each."""
    group: dict[ConversationId, Commit] = {}
    for commit in commits:
        if len(group) == AT_ONCE or commit.conversation_id in group:
            yield list(group.values())
            group = {}
        group[commit.conversation_id] = commit
    if group:
        yield list(group.values())


def _refusal(folder: ConversationFolder, commit: Commit) -> StoreError | None:
    """Return why a commit can't be appended, or None."""
    if folder.commit(commit.version).exists():
        return VersionConflict()
    try:
        if any(_commit_of(folder, input_id) for input_id in commit.inputs):
            return DuplicateInput()
    except StoreDamaged as damaged:
        return damaged
    return None


def _commit_of(folder: ConversationFolder, input_id: InputId) -> Commit | None:
    """Return the commit that an input's link leads to, if it holds the input.

    A crash may have left the link without the commit, whose version another commit may have by now.
    """
    commit = read(folder.input(input_id), Commit)
    return commit if commit and input_id in commit.inputs else None


def _is_others(folder: ConversationFolder, input_id: InputId, commit: Commit) -> bool:
    """Return whether another commit holds an input; what is in `commit`'s own place, damaged perhaps, is not read."""
    link = folder.input(input_id)
    if link.is_symlink() and os.path.basename(os.readlink(link)) == folder.commit(commit.version).name:
        return False
    return _commit_of(folder, input_id) is not None


def _unlink_others(folder: ConversationFolder, commits: Sequence[Commit]) -> set[Path]:
    """Remove the links to commits that are not theirs, whoever left them; return the folders changed."""
    changed: set[Path] = set()
    inputs = {folder.commit(commit.version).name: set(map(folder.input, commit.inputs)) for commit in commits}
    for link in (folder.inputs / name for name in names_in(folder.inputs)):
        if link not in inputs.get(os.path.basename(os.readlink(link)), {link}):
            link.unlink()
            changed.add(folder.inputs)
    amending = {folder.commit(commit.version).stem: set(map(folder.amending, commit.targets)) for commit in commits}
    for amended in (folder.amends / name for name in names_in(folder.amends)):
        for name in names_in(amended):
            if amended not in amending.get(name, {amended}):
                (amended / name).unlink()
                changed |= {amended, folder.amends}
        with suppress(OSError):  # Others amend it as well.
            amended.rmdir()
    return {path for path in changed if path.exists()}


def _commits(folder: ConversationFolder, first: int, last: int | None, *, newest: bool = False) -> Iterator[Commit]:
    """Read the commits of a range of versions."""
    for version in _versions(folder, first, last, newest=newest):
        try:
            commit = read(folder.commit(version), Commit)
        except StoreDamaged as damage:
            damage.details["version"] = version
            raise
        if commit:
            yield commit


def _versions(folder: ConversationFolder, first: int, last: int | None, *, newest: bool) -> Iterator[int]:
    """Yield the versions of a range that may be there.

    A folder that others write to is not listed as it is at one moment: a list can hold a file that was made just now,
    and lack one that was made before it. So what lies between two listed versions is looked for as well.
    """
    before: int | None = None if newest else first - 1
    for number in sorted(_numbers(folder.log), reverse=newest):
        if number < folder_of(first) or (last is not None and number > folder_of(last)):
            continue
        for version in sorted(_numbers(folder.log / f"{number:06}"), reverse=newest):
            if first <= version and (last is None or version <= last):
                yield from _between(before, version)
                yield version
                before = version
    if newest:
        yield from _between(before, first - 1)


def _between(before: int | None, version: int) -> Iterable[int]:
    """Return the versions between two that follow on each other in a list; of very many none, as nobody appends so."""
    if before is None or abs(version - before) > COMMITS_PER_FOLDER:
        return ()
    return range(before + 1, version) if before < version else range(before - 1, version, -1)


def _numbers(folder: Path) -> list[int]:
    """Return the numbers that things in a folder are named after."""
    return [int(stem) for name in names_in(folder) if (stem := name.removesuffix(JSON)).isdecimal()]
