"""The log in memory."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from heapq import nsmallest

from agentbus.contracts.errors import DuplicateInput, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.paging import check_limit
from agentbus.storage.port import Loaded, Log
from agentbus.storage.wholeness import first_needed, loaded


class MemoryLog(Log):
    """The section of the log. What it loads begins with one of `heads`."""

    def __init__(self, heads: MemoryHeads) -> None:
        self._heads = heads
        self._log: dict[ConversationId, dict[int, Commit]] = defaultdict(dict)
        self._inputs: dict[ConversationId, dict[InputId, Commit]] = defaultdict(dict)

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        return [self._append(commit) for commit in commits]

    def _append(self, commit: Commit) -> StoreError | None:
        log, inputs = self._log[commit.conversation_id], self._inputs[commit.conversation_id]
        if commit.version in log:
            return VersionConflict()
        if not inputs.keys().isdisjoint(commit.inputs):
            return DuplicateInput()
        log[commit.version] = commit
        inputs.update(dict.fromkeys(commit.inputs, commit))
        return None

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        return {conversation: self._load(conversation) for conversation in conversations}

    def _load(self, conversation: ConversationId) -> Loaded:
        head = self._heads.latest.get(conversation)
        log = self._log.get(conversation, {})
        first = first_needed(head)
        return loaded(head, (log[version] for version in sorted(log) if version >= first))

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        check_limit(limit)
        known = {conversation for conversation, log in self._log.items() if log} | self._heads.latest.keys()
        return nsmallest(limit, (one for one in known if after is None or one > after))

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
        log = self._log.get(conversation, {})
        wanted = [version for version in log if first <= version and (last is None or version <= last)]
        return [log[version] for version in sorted(wanted, reverse=newest)[:limit]]

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        known = self._inputs.get(conversation, {})
        return {input_id: known[input_id] for input_id in inputs if input_id in known}

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        log = self._log.get(conversation, {})
        return [log[version] for version in sorted(log) if not log[version].targets.isdisjoint(targets)]

    async def replace(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            self._replace_commit(commit)

    def _replace_commit(self, commit: Commit) -> None:
        kept = self._log.get(commit.conversation_id, {}).get(commit.version)
        if kept is None:
            return
        inputs = self._inputs[commit.conversation_id]
        if any(inputs.get(input_id, kept) is not kept for input_id in commit.inputs):
            raise StoreRejected(f"another commit of {commit.conversation_id} holds an input of {commit.version}")
        for input_id in kept.inputs:
            inputs.pop(input_id, None)
        self._log[commit.conversation_id][commit.version] = commit
        inputs.update(dict.fromkeys(commit.inputs, commit))
