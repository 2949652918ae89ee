"""`agentbus store check`: what it finds, what it rebuilds, and what it leaves alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentbus.cli.app import app
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import AnyEvent, Commit, SessionDeleted
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.operations.store_check import Finding, Problem, check_store
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.workers.domain.evolve import heads_along
from agentbus.workers.domain.stripping import stripped
from agentbus.workers.session.live import follow
from tests.contract.store_inside import spoil
from tests.harness.builders import a_commit, a_conversation, a_head, a_moment, appended, begun, data_set


@pytest.fixture(params=["file", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/store" if request.param == "file" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as store:
        yield store


def a_log(one: ConversationId, *more: Sequence[AnyEvent]) -> list[Commit]:
    """Return the commits of a session with a message and data, and of `more` events."""
    events: list[Sequence[AnyEvent]] = [[begun(one), appended(one, 2, "m")], [data_set(one, 3, {"a": 1})], *more]
    return [a_commit(one, version, events=of_one) for version, of_one in enumerate(events, 1)]


async def keep(store: Store, commits: Sequence[Commit], *, heads: bool = True) -> list[SessionState]:
    """Append commits, and save their heads as a worker does; return these."""
    one = commits[0].conversation_id
    for commit in commits:
        assert await store.log.append([commit]) == [None]
    if not heads:
        return []
    await store.heads.save(list(heads_along(SessionState.empty(one), commits)))
    await follow(store, commits)
    return list((await store.heads.get_many([session_id_for(one, number) for number in (1, 2, 3)])).values())


async def check(store: Store, *, repair: bool = False) -> list[Finding]:
    return [one async for one in check_store(store, repair=repair) if isinstance(one, Finding)]


async def problems(store: Store, *, repair: bool = False) -> list[tuple[Problem, bool]]:
    return [(finding.problem, finding.repaired) for finding in await check(store, repair=repair)]


@pytest.fixture
async def healthy(store: Store) -> list[SessionState]:
    """Return the heads of many conversations with which nothing is wrong."""
    return [head for _ in range(20) for head in await keep(store, a_log(a_conversation()))]


async def test_nothing_is_found_where_nothing_is_wrong(store: Store, healthy: list[SessionState]) -> None:
    one = a_conversation()
    gone = SessionDeleted(
        session_id=session_id_for(one, 2),
        sequence=2,
        at=a_moment(9),
        cause=InputId("delete"),
        platform=None,
        deleted=session_id_for(one, 1),
    )
    first, second = await keep(store, a_log(one, [begun(one, generation=2)], [gone]))
    assert (first.status, second.status) == (SessionStatus.DELETED, SessionStatus.ACTIVE)

    assert await check(store) == []
    assert await check(store, repair=True) == []
    assert len((await store.heads.page(SessionFilter())).items) == len(healthy) + 1


async def test_damaged_head_is_rebuilt(store: Store, healthy: list[SessionState]) -> None:
    await spoil(store, healthy[3])

    [finding] = await check(store)
    assert (finding.session_id, finding.problem) == (healthy[3].session_id, Problem.DAMAGED_HEAD)
    assert finding.advice == "--repair rebuilds it from the log"
    with pytest.raises(StoreDamaged):
        await store.heads.get(healthy[3].session_id)

    assert await problems(store, repair=True) == [(Problem.DAMAGED_HEAD, True)]
    assert await store.heads.get(healthy[3].session_id) == healthy[3]
    assert await check(store) == []


@pytest.mark.parametrize("left", [True, False], ids=["which stays in the log", "which an earlier release took out"])
async def test_a_deletion_that_stood_in_a_session_in_the_archive_is_not_undone(store: Store, *, left: bool) -> None:
    """Session 2 deletes session 1, and leaves the log: of session 1 all is there but, maybe, that it was deleted."""
    one = a_conversation()
    second = session_id_for(one, 2)
    gone = SessionDeleted(
        session_id=second, sequence=2, at=a_moment(9), cause=InputId("d"), platform=None, deleted=session_id_for(one, 1)
    )
    log = a_log(one, [begun(one, generation=2)], [gone], [begun(one, generation=3)])
    first, *_ = await keep(store, log)
    without = [commit.model_copy(update={"events": ()}) for commit in log[2:4]]
    await store.log.replace([stripped(commit, second, 9, ()) for commit in log[2:4]] if left else without)
    assert sum(len(commit.events) for commit in await store.log.read(one, first=3, last=4, limit=9)) == left
    assert await check(store) == []

    await spoil(store, first)

    [found] = await check(store, repair=True)
    assert (found.session_id, found.problem, found.repaired) == (first.session_id, Problem.DAMAGED_HEAD, False)
    assert "emptied" in found.advice
    assert list((await store.heads.page(SessionFilter(conversation_id=one, status=SessionStatus.CLOSED))).items) == []


async def test_deleted_session_stays_deleted(store: Store) -> None:
    one = a_conversation()
    gone = SessionDeleted(
        session_id=session_id_for(one, 2),
        sequence=2,
        at=a_moment(9),
        cause=InputId("delete"),
        platform=None,
        deleted=session_id_for(one, 1),
    )
    first, second = await keep(store, a_log(one, [begun(one, generation=2)], [gone]))
    await spoil(store, first)
    await spoil(store, second)

    assert await problems(store, repair=True) == [(Problem.DAMAGED_HEAD, True)] * 2

    assert await store.heads.get_many([first.session_id, second.session_id]) == {
        first.session_id: first,
        second.session_id: second,
    }
    assert first.data == {}


async def test_missing_head_is_rebuilt(store: Store, healthy: list[SessionState]) -> None:
    await keep(store, log := a_log(a_conversation()), heads=False)

    assert await problems(store, repair=True) == [(Problem.MISSING_HEAD, True)]
    head = await store.heads.get(session_id_for(log[0].conversation_id, 1))
    assert head is not None
    assert (head.message_count, head.data) == (1, {"a": 1})
    assert len((await store.heads.page(SessionFilter())).items) == len(healthy) + 1


async def test_wrong_head_and_one_behind_are_rebuilt(store: Store, healthy: list[SessionState]) -> None:
    one = a_conversation()
    log = a_log(one)
    await keep(store, log, heads=False)
    await store.heads.save(list(heads_along(SessionState.empty(one), log[:1])))
    await store.heads.save([wrong := healthy[5].model_copy(update={"data": {"a": 2}, "message_count": 7})])

    found = {finding.session_id: finding for finding in await check(store)}
    assert found.pop(session_id_for(one, 1)).problem is Problem.HEAD_BEHIND
    assert found.pop(wrong.session_id).found == "it differs from its log in: data, message_count"
    assert found == {}

    assert {repaired for _, repaired in await problems(store, repair=True)} == {True}
    assert await store.heads.get(wrong.session_id) == healthy[5]
    assert await check(store) == []


@pytest.mark.usefixtures("healthy")
async def test_damaged_and_missing_commits_are_told_and_nothing_is_made_up(store: Store) -> None:
    damaged, lacking = a_log(a_conversation()), a_log(a_conversation())
    [head] = await keep(store, damaged)
    for commit in damaged:
        await spoil(store, commit)
    await spoil(store, head)
    await store.log.append(lacking[1:])

    found = await check(store, repair=True)

    told = sorted((one.problem, one.version, one.conversation_id, one.repaired) for one in found if one.version)
    assert told == [
        (Problem.DAMAGED_COMMIT, 1, damaged[0].conversation_id, False),
        (Problem.DAMAGED_COMMIT, 2, damaged[0].conversation_id, False),
        (Problem.MISSING_COMMIT, 1, lacking[0].conversation_id, False),
    ]
    heads = {one.problem: one.advice for one in found if not one.version}
    assert set(heads) == {Problem.DAMAGED_HEAD, Problem.MISSING_HEAD}
    assert all(advice.startswith("restore it from a backup") for advice in heads.values())
    with pytest.raises(StoreDamaged):
        await store.heads.get(head.session_id)
    assert await store.heads.get(session_id_for(lacking[0].conversation_id, 1)) is None


async def test_head_that_its_log_does_not_reach_is_left(store: Store) -> None:
    [head] = await keep(store, a_log(a_conversation()))
    await store.heads.save([later := head.model_copy(update={"version": 5})])

    assert await problems(store, repair=True) == [(Problem.HEAD_AHEAD, False)]
    assert await store.heads.get(head.session_id) == later


async def test_what_was_archived_or_erased_is_not_brought_back(store: Store) -> None:
    logs = [a_log(one, [begun(one, generation=2)]) for one in (a_conversation() for _ in range(3))]
    heads = [await keep(store, log) for log in logs]
    for log in logs:  # The first session's events leave its log.
        await store.log.replace([commit.model_copy(update={"events": ()}) for commit in log[:2]])
    sound, lost_first, lost_last = heads
    left = [head.model_copy(update={"data": {}, "status": SessionStatus.ARCHIVED}) for head, _ in heads]
    await store.heads.save(left)
    assert await check(store) == [], "a log that was emptied is not damaged"

    await spoil(store, lost_first[0])
    await spoil(store, lost_last[1])
    found = await check(store, repair=True)

    assert {one.session_id for one in found} == {lost_first[0].session_id, lost_last[1].session_id}
    assert {one.repaired for one in found} == {False}
    assert all("emptied, as what is archived or erased is" in one.advice for one in found)
    assert await store.heads.get(sound[0].session_id) == left[0]
    for head in (lost_first[0], lost_last[1]):
        with pytest.raises(StoreDamaged):
            await store.heads.get(head.session_id)


async def test_head_without_a_log(store: Store) -> None:
    await store.heads.save([a_head(a_conversation(), version=1)])

    assert await problems(store, repair=True) == [(Problem.HEAD_AHEAD, False)]


async def test_command_tells_repairs_and_exits_by_what_is_left(
    url: str, store: Store, healthy: list[SessionState]
) -> None:
    await spoil(store, healthy[0])

    def run(*arguments: str) -> tuple[int, list[dict[str, object]]]:
        result = CliRunner().invoke(app, ["store", "check", "--store", url, "--json", *arguments])
        items: list[dict[str, object]] = json.loads(result.stdout)["items"]
        return result.exit_code, items

    code, items = await asyncio.to_thread(run)
    assert code == 1
    assert [(item["subject"], item["problem"]) for item in items] == [(healthy[0].session_id, "damaged head")]
    code, items = await asyncio.to_thread(run, "--repair")
    assert code == 0
    assert [item["repaired"] for item in items] == [True]
    assert await asyncio.to_thread(run) == (0, [])
