"""The log, encrypted."""

from collections.abc import Collection, Mapping, Sequence

from agentbus.contracts.errors import StoreDamaged, StoreError
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState
from agentbus.storage.encryption.coder import Coder, read
from agentbus.storage.port import MAX_PAGE, Loaded, Log, Store
from agentbus.storage.wholeness import reloaded


class EncryptedLog(Log):
    """The section of the log."""

    def __init__(self, store: Store, coder: Coder) -> None:
        self._store = store
        self._coder = coder

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        kept = await self._coder.encrypt_commits(commits)
        outcome: list[StoreError | None] = [one if isinstance(one, StoreDamaged) else None for one in kept]
        places = [place for place, refused in enumerate(outcome) if refused is None]
        sound = [one for one in kept if isinstance(one, Commit)]
        for place, refused in zip(places, await self._store.log.append(sound) if sound else (), strict=True):
            outcome[place] = refused
        return outcome

    async def commit(
        self, commits: Sequence[Commit], heads: Sequence[SessionState]
    ) -> tuple[list[StoreError | None], list[StoreError | None] | None]:
        kept = [one for one in await self._coder.encrypt_commits(commits) if isinstance(one, Commit)]
        left = [one for one in await self._coder.encrypt_heads(heads) if isinstance(one, SessionState)]
        if len(kept) < len(commits) or len(left) < len(heads):
            return await self.append(commits), None
        return await self._store.log.commit(kept, left)

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        found = await self._store.log.load(conversations)
        kept = {conversation: one for conversation, one in found.items() if not one.damage}
        heads = iter(await self._coder.decrypt_heads([one.head for one in kept.values() if one.head]))
        commits = iter(await self._coder.decrypt_commits([commit for one in kept.values() for commit in one.commits]))
        for conversation, one in kept.items():
            head = next(heads) if one.head else None
            after = [next(commits) for _ in one.commits]
            if isinstance(head, StoreDamaged):
                found[conversation] = await self._reloaded(conversation)
            else:
                found[conversation] = _whole(head, after)
        return found

    async def _reloaded(self, conversation: ConversationId) -> Loaded:
        """Load a conversation whose head can't be read from the beginning of its log."""
        commits: list[Commit] = []
        try:
            while page := await self.read(conversation, first=len(commits) + 1, limit=MAX_PAGE):
                commits += page
        except StoreDamaged as damage:
            return Loaded(damage=damage)
        return reloaded(conversation, commits)

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        return await self._store.log.conversations(after=after, limit=limit)

    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        found = await self._store.log.read(conversation, first=first, last=last, limit=limit, newest=newest)
        return await self._read(found)

    async def read_many(self, spans: Mapping[ConversationId, tuple[int, int]]) -> dict[ConversationId, list[Commit]]:
        found = await self._store.log.read_many(spans)
        commits = iter(await self._read([commit for kept in found.values() for commit in kept]))
        return {conversation: [next(commits) for _ in kept] for conversation, kept in found.items()}

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        found = await self._store.log.commits_of_inputs(conversation, inputs)
        return dict(zip(found, await self._read(list(found.values())), strict=True))

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        return await self._read(await self._store.log.commits_amending(conversation, targets))

    async def replace(self, commits: Sequence[Commit]) -> None:
        await self._store.log.replace([read(one) for one in await self._coder.encrypt_commits(commits)])

    async def _read(self, commits: Sequence[Commit]) -> list[Commit]:
        return [read(one) for one in await self._coder.decrypt_commits(commits)]


def _whole(head: SessionState | None, commits: Sequence[Commit | StoreDamaged]) -> Loaded:
    try:
        return Loaded(head, tuple(read(one) for one in commits))
    except StoreDamaged as damage:
        return Loaded(damage=damage)
