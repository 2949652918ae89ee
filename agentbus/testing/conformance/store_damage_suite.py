"""The store contract of damage: what can't be read fails whoever asks for it, and nobody else."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.port import Store
from agentbus.testing.builders import a_commit, a_conversation, a_head, a_moment, a_parked, appended, begun, edited
from agentbus.testing.conformance.inside import spoil
from agentbus.testing.conformance.store_heads_suite import idle_after
from agentbus.testing.conformance.store_records_suite import a_record

Item = TypeVar("Item")

EARLY, LATE = a_moment(0), a_moment(3600)


def a_log(one: ConversationId) -> list[Commit]:
    return [a_commit(one, 1, events=[begun(one)]), a_commit(one, 2, events=[appended(one, 2, "m")])]


async def ids_of(
    read: Callable[..., Awaitable[Page[SessionState] | Page[SessionSummary]]], limit: int
) -> list[SessionId]:
    """Return the ids of all sessions, read in pages of `limit`."""
    found: list[SessionId] = []
    cursor: str | None = None
    while True:
        page = await read(SessionFilter(), limit=limit, cursor=cursor)
        found += [one.session_id for one in page.items]
        cursor = page.cursor
        if not cursor:
            return found


async def past_damage(scan: Callable[..., Awaitable[Page[Item]]], limit: int) -> tuple[list[Item], list[StoreDamaged]]:
    """Return what can be read of all there is, gone through in pages of `limit`, and what can't be."""
    found: list[Item] = []
    damaged: list[StoreDamaged] = []
    cursor: str | None = None
    at_once = limit
    while True:
        try:
            page = await scan(limit=at_once, cursor=cursor)
        except StoreDamaged as damage:
            if at_once > 1:
                at_once = 1
                continue
            damaged.append(damage)
            cursor, at_once = damage.details["cursor"], limit
        else:
            found += page.items
            cursor = page.cursor
        if cursor is None:
            return found, damaged


class StoreDamageSuite:
    """What every store must do that can be damaged. Subclasses define the fixture `store`."""

    # Heads

    async def test_damaged_head_is_loaded_from_its_log(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        commits = a_log(one)
        for commit in commits:
            await store.log.append([commit])
        heads = [a_head(one, version=2), a_head(other, version=1)]
        await store.heads.save(heads)

        await spoil(store, heads[0])

        loaded = await store.log.load([one, other])
        assert loaded[one].head is None
        assert loaded[one].commits == tuple(commits)
        assert loaded[other].head == heads[1]
        with pytest.raises(StoreDamaged, match=r"damaged: .*store check --repair"):
            await store.heads.get(heads[0].session_id)
        assert await store.heads.save([heads[0]]) == [None]
        assert await store.heads.get(heads[0].session_id) == heads[0]
        assert (await store.log.load([one]))[one].head == heads[0]

    @pytest.mark.parametrize("left", ["events of a version", "a version", "everything"])
    async def test_damaged_head_is_not_guessed_from_what_is_left_of_a_log(self, store: Store, left: str) -> None:
        one, other = a_conversation(), a_conversation()
        commits = a_log(one)
        if left != "everything":
            await store.log.append(commits[left == "a version" :][:1])
            await store.log.append(commits[1:])
        if left == "events of a version":
            await store.log.replace([commits[0].model_copy(update={"events": ()})])
        await store.heads.save([head := a_head(one, version=2), a_head(other, version=1)])

        await spoil(store, head)

        loaded = await store.log.load([one, other])
        assert loaded[other].head == a_head(other, version=1)
        assert isinstance(loaded[one].damage, StoreDamaged)
        assert one in str(loaded[one].damage)
        for reads in (lambda: loaded[one].head, lambda: loaded[one].commits):
            with pytest.raises(StoreDamaged, match="restore it from a backup"):
                reads()

    async def test_log_that_an_archived_session_left_does_not_bring_it_back(self, store: Store) -> None:
        one = a_conversation()
        second = begun(one, generation=2)
        await store.log.append([a_commit(one, 1, events=[begun(one), second])])
        await store.heads.save([head := a_head(one, generation=2, version=1)])
        await store.log.replace([a_commit(one, 1, events=[second])])

        await spoil(store, head)

        assert (await store.log.load([one]))[one].damage

    async def test_damaged_head_hides_no_other(self, store: Store) -> None:
        heads = [idle_after(1, active=-number) for number in range(7)]
        await store.heads.save(heads)
        for number in (0, 2, 3, 6):
            await spoil(store, heads[number])
        sound = [heads[number] for number in (1, 4, 5)]

        with capture_logs() as lines:
            for limit in (1, 2, 3, 100):
                assert await ids_of(store.heads.page, limit) == [head.session_id for head in sound]
                # One may be damaged in what a list does not show.
                listed = await ids_of(store.heads.summaries, limit)
                assert [one for one in listed if one in {head.session_id for head in sound}] == [
                    head.session_id for head in sound
                ]
        assert [line["event"] for line in lines] == [Action.STORE_DAMAGED] * 4, "each is told once"
        assert await store.heads.due(LATE, limit=2) == sound[:0:-1]
        assert await store.heads.due(LATE, limit=10) == sound[::-1]
        assert await store.heads.get_many([head.session_id for head in heads]) == {
            head.session_id: head for head in sound
        }
        assert (await store.heads.statistics(SessionFilter())).total >= len(sound)

    async def test_damaged_things_are_not_passed_over_by_what_goes_through_all(self, store: Store) -> None:
        head, parked, record = a_head(a_conversation()), a_parked(), a_record(kind=RecordKind.DEADLINE)
        await store.heads.save([head, a_head(a_conversation())])
        await store.parked.put(parked)
        await store.records.put_many([record, a_record("other", kind=RecordKind.DEADLINE)])
        for one in (head, parked, record):
            await spoil(store, one)

        with pytest.raises(StoreDamaged, match=rf"{head.session_id}.* is damaged: .*store check --repair"):
            await store.heads.scan(limit=10)
        with pytest.raises(StoreDamaged, match=r"is damaged: .*restore it from a backup"):
            await store.records.scan(RecordKind.DEADLINE, limit=10)
        assert (await store.parked.ids(limit=10)).items == (parked.parked_id,)

    @pytest.mark.parametrize("limit", [1, 3, 100])
    async def test_who_goes_through_all_gets_past_what_is_damaged(self, store: Store, limit: int) -> None:
        records = [a_record(f"r{number}", kind=RecordKind.DEADLINE, at=number) for number in range(5)]
        heads = [a_head(a_conversation()) for _ in range(3)]
        await store.records.put_many(records)
        await store.heads.save(heads)
        for one in (records[0], records[1], records[4], heads[1]):
            await spoil(store, one)

        found, damage = await past_damage(partial(store.records.scan, RecordKind.DEADLINE), limit)
        assert sorted(record.key for record in found) == ["r2", "r3"]
        assert len(damage) == 3
        assert all("is damaged" in str(one) for one in damage)
        sound, told = await past_damage(store.heads.scan, limit)
        assert sorted(head.session_id for head in sound) == sorted(one.session_id for one in (heads[0], heads[2]))
        assert len(told) == 1

    # The log

    async def test_damaged_commit_fails_its_own_conversation(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        first = a_commit(one, 1, inputs=["a"], events=[appended(one, 1, "m")])
        await store.log.append([first, fine := a_commit(other)])
        await store.log.append([a_commit(one, 2, events=[edited(one, 2, "m", "new")])])

        await spoil(store, first)

        loaded = await store.log.load([one, other])
        assert loaded[other].commits == (fine,)
        assert isinstance(loaded[one].damage, StoreDamaged)
        with pytest.raises(StoreDamaged, match=r"1.*is damaged: .*restore it from a backup") as raised:
            await store.log.read(one, limit=10)
        assert raised.value.details["version"] == 1
        with pytest.raises(StoreDamaged, match=r"1.*is damaged"):
            await store.log.commits_of_inputs(one, [InputId("a")])
        assert await store.log.read(one, first=2, limit=10) == [a_commit(one, 2, events=[edited(one, 2, "m", "new")])]
        assert await store.log.append([a_commit(one, 3), a_commit(other, 2)]) == [None, None]

    async def test_damaged_commit_below_the_head_is_not_read(self, store: Store) -> None:
        one = a_conversation()
        await store.log.append([first := a_commit(one, 1, events=[appended(one, 1, "m")])])
        await store.log.append([second := a_commit(one, 2)])
        await store.heads.save([head := a_head(one, version=1)])

        await spoil(store, first)

        loaded = (await store.log.load([one]))[one]
        assert (loaded.head, loaded.commits) == (head, (second,))

    async def test_damaged_conversations_are_among_all(self, store: Store) -> None:
        commits = sorted((a_commit(a_conversation()) for _ in range(4)), key=lambda commit: commit.conversation_id)
        heads = [a_head(commit.conversation_id) for commit in commits[1:]]
        await store.log.append(commits[:3])
        await store.heads.save(heads)
        await spoil(store, commits[0])
        await spoil(store, heads[0])
        await spoil(store, heads[2])

        assert await store.log.conversations(limit=100) == [commit.conversation_id for commit in commits]

    # What is kept beside it

    async def test_damaged_parked_input_hides_no_other(self, store: Store) -> None:
        parked = [a_parked(f"p{number}", at=-number) for number in range(4)]
        for one in parked:
            await store.parked.put(one)
        for number in (0, 2):
            await spoil(store, parked[number])

        page = await store.parked.page(limit=1)
        assert page.items == (parked[1],)
        assert (await store.parked.page(limit=1, cursor=page.cursor)).items == (parked[3],)
        with pytest.raises(StoreDamaged, match="is damaged"):
            await store.parked.get(parked[0].parked_id)
        assert await store.parked.delete(parked[0].parked_id)
        await store.parked.put(parked[2])
        assert (await store.parked.page()).items[0].parked_id == parked[1].parked_id
        again = await store.parked.get(parked[2].parked_id)
        assert again is not None
        assert again.body == parked[2].body

    async def test_damaged_record_hides_no_other(self, store: Store) -> None:
        records = [a_record(f"r{number}", kind=RecordKind.DEADLINE, due=number) for number in range(4)]
        await store.records.put_many(records)
        for number in (0, 2):
            await spoil(store, records[number])

        assert await store.records.due(RecordKind.DEADLINE, LATE, limit=2) == [records[1], records[3]]
        listed = (await store.records.page(RecordKind.DEADLINE, records[0].group)).items
        assert {record.key for record in listed} == {"r1", "r3"}
        with pytest.raises(StoreDamaged, match="is damaged"):
            await store.records.get(RecordKind.DEADLINE, "r0")
        await store.records.put_many([records[0]])
        assert await store.records.get(RecordKind.DEADLINE, "r0") == records[0]
        assert not await store.records.put(records[2], replace=False), "there is one, damaged as it is"
        assert await store.records.delete(RecordKind.DEADLINE, "r2")
        assert await store.records.put(records[2], replace=False)
