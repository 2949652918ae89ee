"""MongoDB answers the store's questions from indexes, and the store's documents stay readable for people."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import MaxKey
from pymongo import MongoClient
from pymongo.collection import Collection

from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.profile import Profile
from agentbus.storage.factory import open_store
from agentbus.storage.mongo.base import later, unless_newer
from agentbus.storage.mongo.codec import commit_id, head_document
from agentbus.storage.mongo.log import MongoLog, ends_of
from agentbus.testing.conformance.store_heads_suite import a_session
from agentbus.testing.conformance.store_records_suite import a_deadline, a_record
from agentbus.testing.conformance.store_shared_suite import a_conflict, linked
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_moment, data_set, deleted

Document = dict[str, Any]

LATEST = [("listed_at", -1), ("_id", 1)]
PARENT = SessionId(f"{a_conversation('parent')}.1")
NEXT_PAGE = later("listed_at", "_id", (NOON, ""))


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[Any]:
    one = a_conversation("planned")
    async with open_store(mongo_url) as store:
        for version in range(1, 30):
            await store.log.append([a_commit(one, version, events=[deleted(one, version, "m")] if version % 2 else [])])
        await store.heads.save([a_head(one, version=29)])
        profile = Profile(owner="ann", agent_id="agent", parent_id=PARENT, tags=("a", "b"), expires_at=NOON)
        await store.heads.save([a_session(profile=profile, active=n) for n in range(30)])
        await store.heads.save([linked("ann", conflicts=(a_conflict(),))])
        await store.records.put(a_record())
        await store.records.put_many([a_deadline(f"k{n}", group=str(n % 3), due=n) for n in range(30)])
    client: MongoClient[Document] = MongoClient(mongo_url, tz_aware=True)
    yield client.get_default_database()
    client.close()


def _indexes(plan: Any) -> set[str]:
    """Return the names of all indexes in a plan, and `COLLSCAN` or `SORT` if it reads or sorts everything."""
    if isinstance(plan, list):
        return set().union(*(_indexes(step) for step in plan))
    if not isinstance(plan, dict):
        return set()
    own = {plan["indexName"]} if "indexName" in plan else set()
    own |= {stage for stage in ("COLLSCAN", "SORT") if plan.get("stage") == stage}
    return own | _indexes(list(plan.values()))


def _plan(collection: Collection[Document], query: Document, sort: list[tuple[str, int]]) -> set[str]:
    explained = collection.find(query).sort(sort).limit(10).explain()
    return _indexes(explained["queryPlanner"]["winningPlan"])


def test_ranges_of_the_log_use_the_primary_index(database: Any) -> None:
    one = a_conversation("planned")
    versions = {"_id": {"$gte": commit_id(one, 3), "$lte": commit_id(one, 9)}}

    assert _plan(database.log, versions, [("_id", -1)]) == {"_id_"}
    assert _plan(database.log, {"$or": [versions, versions]}, [("_id", 1)]) == {"_id_"}


@pytest.mark.parametrize("collection", ["heads", "records"])
def test_what_is_put_unless_there_is_a_newer_one_is_found_without_a_plan(database: Any, collection: str) -> None:
    document = database[collection].find_one()
    update = unless_newer(document, by="version", value=7)
    updates = [{"q": {"_id": document["_id"]}, "u": update, "upsert": True}]

    explained = database.command({"explain": {"update": collection, "updates": updates}, "verbosity": "queryPlanner"})

    assert explained["queryPlanner"]["winningPlan"]["inputStage"]["stage"] == "IDHACK"


def test_the_ends_of_a_conversation_are_one_look_into_an_index_each(database: Any) -> None:
    ends = ends_of(a_conversation("planned"))

    explained = database.command("explain", {"aggregate": "heads", "pipeline": ends, "cursor": {}})
    assert _indexes(explained["stages"]) == {"by_conversation", "_id_"}
    head, newest = database.heads.aggregate(ends)
    assert (head["version"], newest["_id"]["v"], "targets" in newest) == (29, 29, False)


def test_conversations_are_found_by_walking_along_indexes(database: Any) -> None:
    after = {"_id": {"$gt": {"c": "a", "v": MaxKey()}, "$lt": {"c": MaxKey()}}}
    order = [("conversation_id", 1), ("generation", -1)]

    assert _plan(database.log, after, [("_id", 1)]) == {"_id_"}
    assert _plan(database.heads, {"conversation_id": {"$gt": "a"}}, order) == {"by_conversation"}


async def test_many_conversations_take_few_looks_and_a_long_one_no_more(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Counter[str]()

    def counted(name: str) -> None:
        look = getattr(MongoLog, name)

        async def counting(log: MongoLog, last: str) -> list[ConversationId]:
            looks[name] += 1
            found: list[ConversationId] = await look(log, last)
            return found

        monkeypatch.setattr(MongoLog, name, counting)

    for name in ("_logged_after", "_headed_after"):
        counted(name)
    monkeypatch.setattr("agentbus.storage.mongo.log._LOOK", 8)
    some = sorted(a_conversation() for _ in range(12))
    async with open_store(mongo_url) as store:
        for version in range(1, 20):
            await store.log.append([a_commit(some[5], version)])
        await store.log.append([a_commit(one) for one in some[:10] if one != some[5]])
        await store.heads.save([a_head(one) for one in some[2:]])

        assert await store.log.conversations(limit=12) == some

    assert looks == {"_logged_after": 2, "_headed_after": 2}


def test_inputs_and_targets_use_their_index(database: Any) -> None:
    one = a_conversation("planned")

    by_input = _plan(database.log, {"_id.c": one, "inputs": {"$in": ["a", "b"]}}, [("_id", 1)])
    by_target = _plan(database.log, {"_id.c": one, "targets": {"$in": ["a", "b"]}}, [("_id", 1)])

    assert "by_input" in by_input
    assert "COLLSCAN" not in by_input
    assert "by_target" in by_target
    assert "COLLSCAN" not in by_target


def test_listing_walks_along_the_index(database: Any) -> None:
    assert _plan(database.heads, {}, LATEST) == {"by_activity"}
    assert _plan(database.heads, {"status": {"$ne": "deleted"}} | NEXT_PAGE, LATEST) == {"by_activity"}


@pytest.mark.parametrize("page", [{}, NEXT_PAGE])
@pytest.mark.parametrize(
    ("index", "wanted"),
    [
        ("by_owner", {"profile.owner": "ann"}),
        ("by_agent", {"profile.agent_id": "agent"}),
        ("by_parent", {"profile.parent_id": PARENT}),
        ("by_identity", {"identity": "ann"}),
        ("by_conflict", {"conflicts.0": {"$exists": True}}),
        ("by_tag", {"profile.tags": {"$all": ["b"]}}),
        ("by_tag", {"profile.tags": {"$all": ["b", "a"]}}),
    ],
)
def test_listing_by_profile_walks_along_its_index(database: Any, index: str, wanted: Document, page: Document) -> None:
    assert _plan(database.heads, wanted | {"status": {"$ne": "deleted"}} | page, LATEST) == {index}


def test_what_is_due_walks_along_its_index(database: Any) -> None:
    assert _plan(database.heads, {"due_at": {"$lte": NOON}}, [("due_at", 1), ("_id", 1)]) == {"by_due"}


def test_heads_without_a_profile_take_no_room_in_its_indexes(database: Any) -> None:
    head = a_head(a_conversation())
    assert "due_at" not in head_document(head)

    names = ("by_activity", "by_owner", "by_due", "by_identity", "by_conflict")
    keys = {name: database.heads.count_documents({}, hint=name) for name in names}

    assert keys == {"by_activity": 32, "by_owner": 30, "by_due": 30, "by_identity": 1, "by_conflict": 1}


@pytest.mark.parametrize("count", [0, 1, 100])
def test_records_that_are_due_walk_along_an_index(database: Any, count: int) -> None:
    groups = {"group": {"$in": [str(n) for n in range(count)]}} if count else {}
    due = {"_id.k": "deadline", "due_at": {"$lte": a_moment(100)}} | groups

    plan = _plan(database.records, due, [("due_at", 1), ("_id.n", 1)])

    # With groups the server takes what its trial finds better; neither reads or sorts more than it gives.
    assert plan in (({"by_due"}, {"by_group_due"}) if count else ({"by_due"},))
    assert {database.records.count_documents({}, hint=name) for name in ("by_due", "by_group_due")} == {30}


def test_listing_a_group_of_records_walks_along_the_index(database: Any) -> None:
    group = {"_id.k": "checkpoint", "group": "group"}

    assert _plan(database.records, group, [("created_at", -1), ("_id.n", 1)]) == {"by_group"}


def test_listing_what_is_parked_walks_along_the_index(database: Any) -> None:
    latest = [("parked_at", -1), ("_id", 1)]

    assert _plan(database.parked, {}, latest) == {"by_time"}
    assert _plan(database.parked, {"conversation_id": a_conversation("planned")}, latest) == {"by_conversation"}


def test_members_of_a_group_use_the_primary_index(database: Any) -> None:
    group = {"_id": {"$gte": {"g": "group"}, "$lt": {"g": "group", "w": MaxKey()}}}

    assert _plan(database.members, group, [("_id", 1)]) == {"_id_"}


async def test_documents_hold_what_is_needed_and_no_more(mongo_url: str, database: Any) -> None:
    one = a_conversation()
    async with open_store(mongo_url) as store:
        await store.log.append(
            [a_commit(one, 1, inputs=[], events=[data_set(one, 1, {"a.b": 1, "$c": 2, "plain": 3})])]
        )

    document = database.log.find_one({"_id.c": one})

    assert set(document) == {"_id", "epoch", "at", "events"}
    assert document["events"][0]["values"] == {"a%2Eb": 1, "%24c": 2, "plain": 3}
