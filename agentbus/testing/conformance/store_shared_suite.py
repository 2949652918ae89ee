"""The store contract of what expiry and sync keep in heads and commits, and of lists by identity and conflicts."""

from pydantic import JsonValue

from agentbus.contracts.address import Platform
from agentbus.contracts.events import (
    AnyEvent,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    ConversationErased,
    DataSet,
    ExpiryStepTaken,
    MetadataSet,
    SessionArchived,
    SessionRestored,
    SessionStarted,
    StartReason,
)
from agentbus.contracts.expiry import ArchiveRef, CleanupAction, ExpiryProgress
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, SessionId, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import Stamp, next_stamp
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry, TurnedDown
from agentbus.storage.port import Store
from agentbus.testing.builders import NOON, a_commit, a_conversation, a_head, a_moment
from agentbus.testing.conformance.store_heads_suite import a_session, found

ODD_VALUE: JsonValue = {"a.b": {"$set": 1, "%2E": [{"x.y": "$z", "": None}]}, "$ref": [], "int64": 2**63 - 1}
ODD_POINTERS = ("/data/a.b", "/data/$where", "/data/a~1b/~0", "/data/%2E", "/metadata/data", "/data/", "/data/😀/0")
SOURCE = SessionId(f"{a_conversation('source')}.3")


def a_stamp(seconds: float = 0) -> Stamp:
    return next_stamp(None, a_moment(seconds), "telegram", a_conversation("stamped"))


def an_entry(field: str = "/data/a.b", *, value: JsonValue = None, removed: bool = False) -> Entry:
    return Entry(field=field, value=value, removed=removed, stamp=a_stamp(1), base=a_stamp())


def a_conflict() -> Conflict:
    offered = an_entry(value=[ODD_VALUE])
    return Conflict(held=an_entry(value=[ODD_VALUE]), offered=offered, source=SOURCE, opened_at=NOON)


def an_archive() -> ArchiveRef:
    return ArchiveRef(url="s3://bucket/$a.b.jsonl.gz", digest="0f" * 32, sequence=3, messages=2, at=NOON)


def odd_events(session: SessionId) -> list[AnyEvent]:
    """Return one of each kind of event that has stamps, entries or conflicts."""
    common = {"session_id": session, "sequence": 1, "at": NOON, "cause": InputId("cause"), "identity": "$who.😀"}
    stamp, bases = a_stamp(), {field: a_stamp(n) for n, field in enumerate(ODD_POINTERS)}
    values = {"a.b": ODD_VALUE}
    entries = (an_entry(value=[ODD_VALUE]), an_entry("/data/$x", removed=True), an_entry("/data/n", value=2**63 - 1))
    unheld = a_conflict().model_copy(update={"held": None})
    return [
        SessionStarted(**common, reason=StartReason.CREATED, data=values, stamp=stamp),
        DataSet(**common, values=values, stamp=stamp, bases=bases),
        MetadataSet(**common, removed=("a.b",), stamp=stamp, bases=bases),
        ContextMerged(
            **common, source=SOURCE, strategy=ConflictStrategy.MERGE, applied=entries, kept=(an_entry(value="$"),)
        ),
        ConflictOpened(**common, conflicts=(a_conflict(), unheld)),
        ConflictResolved(**common, entries=entries),
        ExpiryStepTaken(**common, rule_id="$rule.1", step=-1, action=CleanupAction.NOTIFY, next_at=NOON),
        SessionArchived(**common, archive=an_archive(), archived=session),
        SessionRestored(
            **common,
            restored=session,
            status=SessionStatus.EXPIRED,
            data=values,
            stamps=bases,
            conflicts=(a_conflict(), unheld),
            turned_down=(TurnedDown(field="/data/a", stamp=stamp),),
        ),
        ConversationErased(**common),
    ]


def linked(identity: str | None, *, conflicts: tuple[Conflict, ...] = (), active: float = 0) -> SessionState:
    return a_session(active=active).model_copy(update={"identity": identity, "conflicts": conflicts})


class StoreSharedSuite:
    """What every store must do for expiry and sync. Subclasses define the fixture `store`."""

    async def test_head_of_a_linked_session_comes_back_whole(self, store: Store) -> None:
        progress = ExpiryProgress(rule_id="$rule.1", step=0, action=CleanupAction.SUSPEND, at=a_moment(1))
        unheld = a_conflict().model_copy(update={"held": None})
        head = a_session().model_copy(
            update={
                "identity": "$who.😀",
                "stamps": {field: a_stamp(n) for n, field in enumerate(ODD_POINTERS)},
                "clock": a_stamp(9),
                "conflicts": (a_conflict(), unheld),
                "expiry": progress,
                "archive": an_archive(),
                "erased": True,
            }
        )

        await store.heads.save([head])

        assert await store.heads.get(head.session_id) == head
        assert (await store.log.load([head.conversation_id]))[head.conversation_id].head == head
        assert await found(store, SessionFilter(identity="$who.😀")) == [head]
        kept = await store.heads.get(head.session_id)
        assert kept is not None
        assert kept.model_dump_json() == head.model_dump_json()

    async def test_events_of_expiry_and_sync_come_back_whole(self, store: Store) -> None:
        one = a_conversation()
        commit = a_commit(one, events=odd_events(session_id_for(one, 1)))

        assert await store.log.append([commit]) == [None]

        [kept] = await store.log.read(one, limit=1)
        assert kept == commit
        assert kept.model_dump_json() == commit.model_dump_json()
        replaced = commit.model_copy(update={"epoch": 5})
        await store.log.replace([replaced])
        assert await store.log.read(one, limit=1) == [replaced]

    async def test_heads_are_read_in_bulk(self, store: Store) -> None:
        heads = {head.session_id: head for head in (a_head(a_conversation(), active=n) for n in range(450))}
        earlier = a_head(next(iter(heads.values())).conversation_id, generation=2)
        await store.heads.save([*heads.values(), earlier])
        unknown = SessionId(f"{a_conversation()}.1")

        assert await store.heads.get_many(heads) == heads
        assert await store.heads.get_many([earlier.session_id, unknown]) == {earlier.session_id: earlier}
        assert await store.heads.get_many([unknown]) == {}
        assert await store.heads.get_many([]) == {}

    async def test_sessions_are_listed_by_identity(self, store: Store) -> None:
        anns = [linked("ann"), linked("ann", active=2)]
        bobs, nobodys = linked("bob", active=1), a_session(active=3)
        await store.heads.save([*anns, bobs, nobodys])

        assert await found(store, SessionFilter(identity="ann")) == [anns[1], anns[0]]
        assert await found(store, SessionFilter(identity="Ann")) == []
        assert await found(store, SessionFilter(identity="ann", conversation_id=anns[0].conversation_id)) == [anns[0]]
        assert await found(store, SessionFilter(identity="ann", platform=Platform.SLACK)) == []
        assert (await store.heads.statistics(SessionFilter(identity="ann"))).total == 2
        first = await store.heads.page(SessionFilter(identity="ann"), limit=1)
        rest = await store.heads.page(SessionFilter(identity="ann"), limit=1, cursor=first.cursor)
        assert (*first.items, *rest.items) == (anns[1], anns[0])

    async def test_session_that_is_unlinked_is_listed_no_more(self, store: Store) -> None:
        head = linked("ann", conflicts=(a_conflict(),))
        await store.heads.save([head])

        unlinked = head.model_copy(update={"version": 2, "identity": None, "conflicts": ()})
        await store.heads.save([unlinked])

        assert await found(store, SessionFilter(identity="ann")) == []
        assert await found(store, SessionFilter(conflicts=True)) == []
        assert await found(store, SessionFilter(conflicts=False)) == [unlinked]

    async def test_sessions_are_listed_by_whether_they_have_conflicts(self, store: Store) -> None:
        open_one, fine = linked("ann", conflicts=(a_conflict(),)), linked("ann", active=1)
        two = linked("bob", conflicts=(a_conflict(), a_conflict()), active=2)
        nobodys = a_session(active=3)
        await store.heads.save([open_one, fine, two, nobodys])

        assert await found(store, SessionFilter(conflicts=True)) == [two, open_one]
        assert await found(store, SessionFilter(conflicts=False)) == [nobodys, fine]
        assert await found(store, SessionFilter(conflicts=True, identity="ann")) == [open_one]
        assert await found(store, SessionFilter(conflicts=False, identity="ann")) == [fine]
        assert await found(store, SessionFilter(identity="ann")) == [fine, open_one]
        assert (await store.heads.statistics(SessionFilter(conflicts=True))).total == 2
        assert (await store.heads.statistics(SessionFilter(conflicts=False, identity="ann"))).total == 1
        first = await store.heads.page(SessionFilter(conflicts=True), limit=1)
        rest = await store.heads.page(SessionFilter(conflicts=True), limit=1, cursor=first.cursor)
        assert (*first.items, *rest.items) == (two, open_one)
