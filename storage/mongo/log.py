"""The log in MongoDB: the collection `log`."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from bson import MaxKey
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError, WriteError

from agentbus.contracts.errors import DuplicateInput, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import unless_damaged
from agentbus.storage.mongo.base import MongoSection
from agentbus.storage.mongo.codec import MAX_VERSION, commit_document, commit_id, to_commit, to_head
from agentbus.storage.mongo.driver import Document
from agentbus.storage.mongo.errors import DUPLICATE_KEY, TRANSIENT_CODES, rejected, write_errors
from agentbus.storage.paging import check_limit
from agentbus.storage.port import Loaded, Log
from agentbus.storage.wholeness import first_needed, loaded, reloaded

CHUNK = 200
"""How many conversations one query asks for."""

_Heads = dict[ConversationId, SessionState | None]
"""The head of each conversation's latest session, or None in the place of one that is damaged."""
_Commits = dict[ConversationId, list[Document]]
"""The documents of each conversation's commits that its head does not tell of."""

_LOOK: Final = 500
"""How many keys a look for conversations takes from an index: of short ones all, of a long one more than are needed."""


@end_well(finished)
class MongoLog(MongoSection, Log):
    """The section of the log."""

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        outcome: list[StoreError | None] = [None] * len(commits)
        documents: list[RawBSONDocument] = []
        positions: list[int] = []
        for position, commit in enumerate(commits):
            try:
                documents.append(commit_document(commit))
                positions.append(position)
            except (BSONError, OverflowError, ValueError) as error:
                outcome[position] = StoreRejected(f"MongoDB can't keep the commit: {error}")
        if documents:
            for index, failure in (await self._insert(documents)).items():
                outcome[positions[index]] = failure
        return outcome

    async def _insert(self, documents: Sequence[RawBSONDocument]) -> dict[int, StoreError]:
        if len(documents) == 1:
            return await self._insert_one(documents[0])
        try:
            with self._database.errors():
                await self._database.collection("log").insert_many(documents, ordered=False)
        except BulkWriteError as error:
            return {failed["index"]: self._meaning(failed) for failed in write_errors(self._database.target, error)}
        return {}

    async def _insert_one(self, document: RawBSONDocument) -> dict[int, StoreError]:
        """Insert one alone, which costs the client less than a batch of one."""
        with self._database.errors():
            try:
                await self._database.collection("log").insert_one(document)
            except WriteError as error:
                if error.code in TRANSIENT_CODES:
                    raise
                return {0: self._meaning(error.details or {"code": error.code})}
        return {}

    def _meaning(self, failed: Mapping[str, Any]) -> StoreError:
        if failed["code"] != DUPLICATE_KEY:
            return rejected(self._database.target, failed["code"], failed.get("errmsg", ""))
        return DuplicateInput() if "inputs" in failed["keyPattern"] else VersionConflict()

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        found: dict[ConversationId, Loaded] = {}
        for chunk in chunks(list(conversations), CHUNK):
            heads, after = await (self._one(chunk[0]) if len(chunk) == 1 else self._many(chunk))
            for key in chunk:
                head, documents = heads.get(key), after.get(key, ())
                damaged = key in heads and head is None
                commits = map(to_commit, documents)
                found[key] = reloaded(key, commits) if damaged else loaded(head, commits)
        return found

    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        check_limit(limit)
        with self._database.errors():
            logged = await _distinct(self._logged_after, after or "", limit)
            headed = await _distinct(self._headed_after, after or "", limit)
        return sorted(logged | headed)[:limit]

    async def _logged_after(self, last: str) -> list[ConversationId]:
        """Return whose commits the next ones are: a look into an index, while a `distinct` would read it to its end."""
        after = {"_id": {"$gt": {"c": last, "v": MaxKey()}, "$lt": {"c": MaxKey()}}}
        found = self._database.collection("log").find(after, {"_id": 1}).sort([("_id", 1)])
        return [one["_id"]["c"] for one in await found.limit(_LOOK).to_list(None)]

    async def _headed_after(self, last: str) -> list[ConversationId]:
        """Return whose heads the next ones are."""
        name = "conversation_id"
        found = self._database.collection("heads").find({name: {"$gt": last}}, {"_id": 0, name: 1})
        return [one[name] for one in await found.sort([(name, 1), ("generation", -1)]).limit(_LOOK).to_list(None)]

    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        query = _versions(conversation, first, MAX_VERSION if last is None else last)
        cursor = self._database.collection("log").find(query, {"targets": 0})
        with self._database.errors():
            found = await cursor.sort([("_id", -1 if newest else 1)]).limit(check_limit(limit)).to_list(None)
        return [to_commit(document) for document in found]

    async def read_many(self, spans: Mapping[ConversationId, tuple[int, int]]) -> dict[ConversationId, list[Commit]]:
        for first, last in spans.values():
            check_limit(last - first + 1)
        commits: dict[ConversationId, list[Commit]] = {conversation: [] for conversation in spans}
        for chunk in chunks(list(spans.items()), CHUNK):
            for commit in await self._commits({"$or": [_versions(key, *span) for key, span in chunk]}):
                commits[commit.conversation_id].append(commit)
        return commits

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        wanted = set(inputs)
        commits = await self._commits({"_id.c": conversation, "inputs": {"$in": list(wanted)}})
        return {input_id: commit for commit in commits for input_id in commit.inputs if input_id in wanted}

    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        return await self._commits({"_id.c": conversation, "targets": {"$in": list(targets)}})

    async def replace(self, commits: Sequence[Commit]) -> None:
        try:
            writes: list[Any] = [ReplaceOne({"_id": _id_of(commit)}, commit_document(commit)) for commit in commits]
        except (BSONError, OverflowError, ValueError) as error:
            raise StoreRejected(f"MongoDB can't keep a commit: {error}") from error
        for place in await self._database.write_all("log", writes):
            refused = commits[place]
            raise StoreRejected(f"another commit of {refused.conversation_id} holds an input of {refused.version}")

    async def _many(self, conversations: Sequence[ConversationId]) -> tuple[_Heads, _Commits]:
        heads = await self._latest_heads(conversations)
        return heads, await self._commits_after(conversations, heads)

    async def _one(self, conversation: ConversationId) -> tuple[_Heads, _Commits]:
        """Ask for the head and the end of the log in one; for more of the log if the head is behind that."""
        with self._database.errors():
            found = await self._database.opened().aggregate("heads", ends_of(conversation))
        heads: _Heads = {}
        commits: list[Document] = []
        for one in found:
            if isinstance(one["_id"], dict):  # a commit: its name has two parts
                commits.append(one)
            else:
                heads[conversation] = unless_damaged(one, to_head)
        first, last = first_needed(heads.get(conversation)), commits[0]["_id"]["v"] if commits else 0
        if last > first:
            return heads, await self._commits_after([conversation], heads)
        return heads, {conversation: commits} if last == first else {}

    async def _latest_heads(self, conversations: Sequence[ConversationId]) -> _Heads:
        pipeline: list[Document] = [
            {"$match": {"conversation_id": {"$in": list(conversations)}}},
            {"$sort": {"conversation_id": 1, "generation": -1}},
            {"$group": {"_id": "$conversation_id", "head": {"$first": "$$ROOT"}}},
        ]
        with self._database.errors():
            found = await self._database.opened().aggregate("heads", pipeline)
        return {group["_id"]: unless_damaged(group["head"], to_head) for group in found}

    async def _commits_after(self, conversations: Sequence[ConversationId], heads: _Heads) -> _Commits:
        first = {key: first_needed(heads.get(key)) for key in conversations}
        found: _Commits = {}
        for document in await self._found({"$or": [_versions(key, first[key], MAX_VERSION) for key in first]}):
            found.setdefault(document["_id"]["c"], []).append(document)
        return found

    async def _commits(self, query: Document) -> list[Commit]:
        return [to_commit(document) for document in await self._found(query)]

    async def _found(self, query: Document) -> list[Document]:
        with self._database.errors():
            found: list[Document] = (
                await self._database.collection("log").find(query, {"targets": 0}).sort([("_id", 1)]).to_list(None)
            )
        return found


def ends_of(conversation: ConversationId) -> list[Document]:
    """Return what finds, in the collection `heads`, a conversation's latest head, and after it the last commit."""
    newest = {"$match": _versions(conversation, 1, MAX_VERSION)}
    return [
        {"$match": {"conversation_id": conversation}},
        {"$sort": {"generation": -1}},
        {"$limit": 1},
        {
            "$unionWith": {
                "coll": "log",
                "pipeline": [newest, {"$sort": {"_id": -1}}, {"$limit": 1}, {"$project": {"targets": 0}}],
            }
        },
    ]


async def _distinct(
    following: Callable[[str], Awaitable[list[ConversationId]]], after: str, limit: int
) -> set[ConversationId]:
    """Return conversations after one, the first `limit` among them; `following` names each as often as it meets it.

    The rest of one that a look ended in is passed over: a long log takes a look, many short ones take one together.
    """
    found: set[ConversationId] = set()
    while len(found) < limit:
        met = await following(after)
        found.update(met)
        if len(met) < _LOOK:
            break
        after = met[-1]
    return found


def _id_of(commit: Commit) -> Document:
    return commit_id(commit.conversation_id, commit.version)


def _versions(conversation: ConversationId, first: int, last: int) -> Document:
    return {"_id": {"$gte": commit_id(conversation, first), "$lte": commit_id(conversation, last)}}
