"""The check of a replay finds what is lost, repeated, out of order or parked, and what was kept otherwise."""

from datetime import timedelta

import pytest

from agentbus.client import Receipt
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.session import SessionStatus
from agentbus.operations.replay.journal import Journal
from agentbus.operations.replay.outcome import Outcome
from agentbus.operations.replay.outcome import check as check_journal
from agentbus.storage.memory import MemoryStore
from tests.harness.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_moment,
    a_parked,
    appended,
    deleted,
    edited,
    reacted,
)

ADA, BOB = a_conversation("ada"), a_conversation("bob")


def receipts(*names: str, conversation: ConversationId = ADA) -> list[Receipt]:
    return [Receipt(InputId(name), conversation, Partition(0)) for name in names]


async def check(store: MemoryStore, published: list[Receipt]) -> Outcome:
    with Journal(published) as journal:
        return await check_journal(store, journal)


async def a_store(*commits: Commit) -> MemoryStore:
    store = MemoryStore()
    for commit in commits:
        assert await store.log.append([commit]) == [None]
    return store


def counts(outcome: Outcome) -> dict[str, int]:
    names = ("committed", "parked", "lost", "duplicated", "reordered")
    return {name: getattr(outcome, name) for name in names if getattr(outcome, name)}


async def test_everything_committed_once_and_in_order() -> None:
    store = await a_store(a_commit(ADA, 1, inputs=["a", "b"]), a_commit(ADA, 2, inputs=["c"]))
    assert counts(await check(store, receipts("a", "b", "c"))) == {"committed": 3}


async def test_nothing_published_is_nothing_to_check() -> None:
    outcome = await check(await a_store(), [])
    assert counts(outcome) == {}
    assert (outcome.sessions, outcome.events) == (0, 0)


async def test_what_is_neither_committed_nor_parked_is_lost() -> None:
    store = await a_store(a_commit(ADA, 1, inputs=["a"]))
    outcome = await check(store, [*receipts("a", "b"), *receipts("c", conversation=BOB)])
    assert counts(outcome) == {"committed": 1, "lost": 2}


async def test_what_is_committed_in_another_conversation_is_lost() -> None:
    store = await a_store(a_commit(BOB, 1, inputs=["a"]))
    assert counts(await check(store, receipts("a"))) == {"lost": 1}


async def test_what_is_parked_is_not_lost() -> None:
    store = await a_store(a_commit(ADA, 1, inputs=["a"]))
    await store.parked.put(a_parked("b"))
    assert counts(await check(store, receipts("a", "b"))) == {"committed": 1, "parked": 1}


@pytest.mark.parametrize("status", [ParkedStatus.DISCARDED, ParkedStatus.REPLAYED])
async def test_what_was_parked_and_is_not_any_more_is_lost(status: ParkedStatus) -> None:
    store, parked = await a_store(), a_parked("a")
    await store.parked.put(parked)
    assert await store.parked.set_status(parked.parked_id, status)
    assert counts(await check(store, receipts("a"))) == {"lost": 1}


async def test_what_is_committed_twice_is_found() -> None:
    """No store takes it: written past its checks, as a fault would."""
    store = await a_store(a_commit(ADA, 1, inputs=["a", "b"]))
    store.log._log[ADA][2] = a_commit(ADA, 2, inputs=["a"])
    assert counts(await check(store, receipts("a", "b"))) == {"committed": 2, "duplicated": 1}


@pytest.mark.parametrize(
    ("committed", "reordered"), [(["b", "a", "c"], 1), (["c", "a", "b"], 2), (["c", "b", "a"], 2), (["a", "c"], 0)]
)
async def test_what_was_overtaken_is_found(committed: list[str], reordered: int) -> None:
    store = await a_store(*(a_commit(ADA, version, inputs=[name]) for version, name in enumerate(committed, 1)))
    assert (await check(store, receipts("a", "b", "c"))).reordered == reordered


async def test_order_between_conversations_does_not_matter() -> None:
    store = await a_store(a_commit(BOB, 1, inputs=["b"]), a_commit(ADA, 1, inputs=["a"]))
    outcome = await check(store, [*receipts("a"), *receipts("b", conversation=BOB)])
    assert counts(outcome) == {"committed": 2}


async def test_what_was_published_twice_counts_by_its_first_time() -> None:
    store = await a_store(a_commit(ADA, 1, inputs=["a", "b"]))
    assert counts(await check(store, receipts("a", "b", "a"))) == {"committed": 2}


async def test_sessions_and_events_are_counted() -> None:
    store = await a_store(a_commit(ADA, 1, inputs=["a"]))
    heads = [a_head(ADA, generation=number).model_copy(update={"sequence": number * 10}) for number in (1, 2)]
    await store.heads.save(heads)
    outcome = await check(store, receipts("a"))
    assert (outcome.sessions, outcome.events) == (2, 30)


async def digest_of(*commits: Commit, **head: object) -> str:
    store = await a_store(*commits)
    state = a_head(ADA, version=len(commits)).model_copy(update={"message_count": 2, "sequence": 2, **head})
    await store.heads.save([state])
    return (await check(store, receipts("input-1"))).digest


ONE, TWO = appended(ADA, 1, "one"), appended(ADA, 2, "two")


async def test_equal_content_has_an_equal_digest() -> None:
    """However it was put into commits, whenever, and by whichever owner."""
    together = await digest_of(a_commit(ADA, 1, events=[ONE, TWO]))
    apart = await digest_of(a_commit(ADA, 1, events=[ONE], epoch=3), a_commit(ADA, 2, events=[TWO], epoch=4))
    later = [event.model_copy(update={"at": a_moment(999)}) for event in (ONE, TWO)]
    moved = await digest_of(a_commit(ADA, 1, events=later), last_activity=a_moment(999), created_at=a_moment(998))
    assert together == apart == moved
    assert len(together) == 64


async def test_an_edit_at_another_time_has_an_equal_digest() -> None:
    edit = edited(ADA, 3, "one", "other")
    later = edit.model_copy(update={"at": edit.at + timedelta(hours=1)})
    first = await digest_of(a_commit(ADA, 1, events=[ONE, TWO, edit]))
    assert await digest_of(a_commit(ADA, 1, events=[ONE, TWO, later])) == first


@pytest.mark.parametrize(
    "events",
    [
        [ONE],
        [TWO.model_copy(update={"sequence": 1}), ONE.model_copy(update={"sequence": 2})],
        [ONE, appended(ADA, 2, "three")],
        [ONE, TWO, edited(ADA, 3, "one", "other")],
        [ONE, TWO, edited(ADA, 3, "one", "says one")],
        [ONE, TWO, deleted(ADA, 3, "two")],
        [ONE, TWO, reacted(ADA, 3, "one", "+1")],
        [ONE, TWO.model_copy(update={"message": TWO.message.model_copy(update={"author": "Bo"})})],
    ],
    ids=["missing", "swapped", "another", "edited", "edited-to-the-same", "deleted", "reacted", "author"],
)
async def test_another_history_has_another_digest(events: list[object]) -> None:
    commit = a_commit(ADA, 1).model_copy(update={"events": tuple(events)})
    assert await digest_of(commit) != await digest_of(a_commit(ADA, 1, events=[ONE, TWO]))


@pytest.mark.parametrize(
    "head",
    [
        {"data": {"step": 1}},
        {"metadata": {"lang": "en"}},
        {"status": SessionStatus.CLOSED},
        {"message_count": 3},
        {"sequence": 3},
        {"address": None},
        {"generation": 2},
    ],
    ids=lambda head: next(iter(head)),
)
async def test_another_session_has_another_digest(head: dict[str, object]) -> None:
    commit = a_commit(ADA, 1, events=[])
    assert await digest_of(commit, **head) != await digest_of(commit)
