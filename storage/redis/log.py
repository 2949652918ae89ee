"""The log in Redis."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from agentbus.contracts.errors import (
    DuplicateInput,
    StoreDamaged,
    StoreError,
    StoreRejected,
    StoreUnavailable,
    VersionConflict,
)
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import unless_damaged
from agentbus.storage.paging import check_limit
from agentbus.storage.port import MAX_PAGE, Loaded, Log
from agentbus.storage.redis.base import BATCH, RedisSection, batches, together, too_large
from agentbus.storage.redis.codec import KNOWN, amendments, to_commit, to_head
from agentbus.storage.redis.wiping import rewrite_files
from agentbus.storage.wholeness import loaded, reloaded

_OF_COMMITS: Final = ("log", "order", "inputs", "targets")
_REPLACEMENTS: Final = 20
"""How often a commit is replaced at most that others replace at the same time."""

PART_BYTES: Final = 8 * 1024 * 1024
"""About how many bytes of commits a script returns at once at most."""

_LOADED: Final = 500
"""How many commits of a conversation come with its head; the rest is read as a history is."""

_Kept = tuple[int, Commit, bytes]
"""A commit with its place among those given, and its body."""


@end_well(finished)
class RedisLog(RedisSection, Log):
    """The section of the log."""

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        outcome: list[StoreError | None] = [None] * len(commits)
        chosen: list[tuple[str, _Kept]] = []
        for place, commit in enumerate(commits):
            body = commit.model_dump_json().encode()
            outcome[place] = too_large(self._database.target, "commit", len(body))
            if outcome[place] is None:
                chosen.append((commit.conversation_id, (place, commit, body)))
        shards = self._database.layout.by_shard(chosen)
        for told in await together(self._append(shard, of_shard) for shard, of_shard in shards.items()):
            for place, error in told:
                outcome[place] = error
        return outcome

    async def _append(self, shard: int, commits: Sequence[_Kept]) -> list[tuple[int, StoreError | None]]:
        found: list[tuple[int, StoreError | None]] = []
        for batch in batches(commits, lambda one: len(one[2])):
            keys = [self._database.layout.key(shard, "index")]
            given: list[Any] = []
            for _, commit, body in batch:
                keys += self._database.layout.of_conversation(commit.conversation_id, *_OF_COMMITS)
                given += [commit.conversation_id, commit.version, body]
                given += [*_counted(dict.fromkeys(commit.inputs)), *_counted(amendments(commit))]
            codes = await self._database.run("append", keys, *given)
            found += [(place, _refusal(code)) for (place, *_), code in zip(batch, codes, strict=True)]
        return found

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        shards = self._database.layout.by_shard((one, one) for one in conversations)
        found: dict[ConversationId, Loaded] = {}
        for part in await together(self._load(shard, of_shard) for shard, of_shard in shards.items()):
            found |= part
        return found

    async def _load(self, shard: int, conversations: Sequence[ConversationId]) -> dict[ConversationId, Loaded]:
        found: dict[ConversationId, Loaded] = {}
        layout = self._database.layout
        for chunk in chunks(conversations, BATCH):
            keys = layout.keys(shard, "heads", "heads:rows", "index")
            keys += [key for one in chunk for key in layout.of_conversation(one, "log", "order")]
            told = await self._database.run("load", keys, _LOADED, *chunk)
            for one, (session, body, after) in zip(chunk, told, strict=True):
                found[one] = await self._loaded(one, session.decode(), body, after)
        return found

    async def _loaded(self, one: ConversationId, session: str, body: bytes, after: Sequence[bytes | None]) -> Loaded:
        head = unless_damaged(body, lambda kept: to_head(session, kept)) if session else None
        try:
            if session and head is None:
                return reloaded(one, await self._all_from(one, 1))
            commits = _commits(one, after)
            if len(commits) == _LOADED:
                commits += await self._all_from(one, commits[-1].version + 1)
        except StoreDamaged as damage:
            return Loaded(damage=damage)
        return loaded(head, commits)

    async def _all_from(self, conversation: ConversationId, first: int) -> list[Commit]:
        found: list[Commit] = []
        while True:
            _, commits = await self._part(conversation, first, "+inf", MAX_PAGE)
            if not commits:
                return found
            found += commits
            first = commits[-1].version + 1

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        check_limit(limit)
        layout = self._database.layout
        bounds = (f"({KNOWN}{after}" if after else f"[{KNOWN}", f"({KNOWN}\x7f", "LIMIT", 0, limit)
        parts = await together(
            self._database.ask("ZRANGEBYLEX", layout.key(shard, "index"), *bounds) for shard in range(layout.shards)
        )
        found = sorted(place.decode().removeprefix(KNOWN) for part in parts for place in part)
        return [ConversationId(one) for one in found[:limit]]

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
        found: list[Commit] = []
        ends: int | str = "+inf" if last is None else last
        while True:
            whole, commits = await self._part(conversation, first, ends, limit - len(found), newest=newest)
            found += commits
            if whole or not commits:
                return found
            if newest:
                ends = commits[-1].version - 1
            else:
                first = commits[-1].version + 1

    async def _part(
        self, conversation: ConversationId, first: int, last: int | str, limit: int, *, newest: bool = False
    ) -> tuple[bool, list[Commit]]:
        """Return commits, and whether they are all that were asked for: a script does not give too much at once."""
        keys = self._database.layout.of_conversation(conversation, "log", "order")
        whole, found = await self._database.run("read", keys, first, last, limit, int(newest), PART_BYTES)
        return bool(whole), _commits(conversation, found)

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        [key] = self._database.layout.of_conversation(conversation, "inputs")
        versions: dict[InputId, int] = {}
        for chunk in chunks(list(inputs), BATCH):
            told = await self._database.ask("HMGET", key, *chunk)
            versions |= {one: int(version) for one, version in zip(chunk, told, strict=True) if version is not None}
        commits = await self._versions(conversation, versions.values())
        return {one: commits[version] for one, version in versions.items()}

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        keys = self._database.layout.of_conversation(conversation, "targets")
        versions: set[int] = set()
        for chunk in chunks(list(targets), BATCH):
            versions.update(map(int, await self._database.run("amending", keys, *chunk)))
        commits = await self._versions(conversation, versions)
        return [commits[version] for version in sorted(commits)]

    async def _versions(self, conversation: ConversationId, versions: Collection[int]) -> dict[int, Commit]:
        return {
            version: to_commit(conversation, version, body)
            for version, body in (await self._bodies(conversation, versions)).items()
        }

    async def _bodies(self, conversation: ConversationId, versions: Collection[int]) -> dict[int, bytes | None]:
        [key] = self._database.layout.of_conversation(conversation, "log")
        found: dict[int, bytes | None] = {}
        for chunk in chunks(sorted(set(versions)), BATCH):
            found |= zip(chunk, await self._database.ask("HMGET", key, *chunk), strict=True)
        return found

    async def replace(self, commits: Sequence[Commit]) -> None:
        given: dict[ConversationId, dict[int, tuple[Commit, bytes]]] = {}
        for commit in commits:
            body = commit.model_dump_json().encode()
            if refused := too_large(self._database.target, "commit", len(body)):
                raise refused
            given.setdefault(commit.conversation_id, {})[commit.version] = commit, body
        await together(self._replace(one, of_one) for one, of_one in given.items())
        if not commits:
            await rewrite_files(self._database)

    async def _replace(self, conversation: ConversationId, given: Mapping[int, tuple[Commit, bytes]]) -> None:
        for batch in batches([*given.values()], lambda one: len(one[1])):
            left = {commit.version: (commit, body) for commit, body in batch}
            for _ in range(_REPLACEMENTS):
                left = await self._replace_once(conversation, left)
                if not left:
                    break
            else:
                raise StoreUnavailable(f"{self._database.target}: others replace the same commits all the time")

    async def _replace_once(
        self, conversation: ConversationId, given: Mapping[int, tuple[Commit, bytes]]
    ) -> dict[int, tuple[Commit, bytes]]:
        """Replace those of some commits that are kept; return those that others replaced in this moment."""
        arguments: list[Any] = []
        versions: list[int] = []
        for version, kept in (await self._bodies(conversation, given)).items():
            if kept is not None:
                before, (commit, body) = to_commit(conversation, version, kept), given[version]
                arguments += [version, hashlib.sha1(kept, usedforsecurity=False).hexdigest(), body]
                arguments += [*_counted(dict.fromkeys(before.inputs)), *_counted(amendments(before))]
                arguments += [*_counted(dict.fromkeys(commit.inputs)), *_counted(amendments(commit))]
                versions.append(version)
        if not versions:
            return {}
        keys = self._database.layout.of_conversation(conversation, "log", "inputs", "targets")
        told = dict(zip(versions, await self._database.run("replace", keys, *arguments), strict=True))
        for version, code in told.items():
            if code == 1:
                raise StoreRejected(f"another commit of {conversation} holds an input of {version}")
        return {version: given[version] for version, code in told.items() if code == 2}


def _counted(items: Collection[str]) -> list[Any]:
    """Return items with their number before them, as scripts read a list."""
    return [len(items), *items]


def _refusal(code: int) -> StoreError | None:
    match code:
        case 0:
            return None
        case 1:
            return VersionConflict()
        case _:
            return DuplicateInput()


def _commits(conversation: ConversationId, found: Sequence[bytes | None]) -> list[Commit]:
    """Read versions and bodies, as a script returns them in turn."""
    return [
        to_commit(conversation, int(version or 0), body) for version, body in zip(found[::2], found[1::2], strict=True)
    ]
