"""The action merge: a session ends once another one has what it held, and not before."""

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import CloseSession, CommandReply, DeleteSession, LinkIdentity, SetData, UnlinkIdentity
from agentbus.contracts.envelope import Input
from agentbus.contracts.expiry import CleanupAction, Conditions, Step
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.telemetry import Action
from agentbus.storage.archive import open_archive
from agentbus.storage.reading import iter_parked
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.sweep import Finding, Sweep, SweepOutcome
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from tests.expiry.test_steps import fails_again, until_counted, until_status
from tests.expiry.world import World, a_rule, a_world

EXPIRE, MERGE, DELETE = CleanupAction.EXPIRE, CleanupAction.MERGE, CleanupAction.DELETE


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


async def until_status_later(world: World, session: SessionId, status: SessionStatus) -> None:
    """Let time pass until a session has a status."""

    async def has_it() -> bool:
        world.advance(1)
        return (await world.head(session)).status is status

    await world.until(has_it)


async def test_a_merge_brings_the_context_into_the_other_session(world: World) -> None:
    async with world.expiring(a_rule("merged", MERGE)) as worker:
        ended, other, stranger = [
            await world.session("ada", platform) for platform in (Platform.WEB, Platform.SLACK, Platform.TELEGRAM)
        ]
        for session in (ended, other):
            await world.send(LinkIdentity(session_id=session, identity="ada"))
        await world.send(SetData(session_id=ended, values={"city": "Paris", "password": "secret"}))
        world.advance(30)
        await world.send(SetData(session_id=other, values={"name": "Ada"}))
        await world.send(SetData(session_id=stranger, values={"name": "Eve"}))
        await world.scheduled(ended, other, stranger)
        world.advance(30)
        await until_status(world, ended, SessionStatus.EXPIRED)
        await until_counted(world, worker, merged=1)

        async def brought() -> bool:
            return (await world.head(other)).data == {"name": "Ada", "city": "Paris"}

        await world.until(brought)
        assert (await world.head(stranger)).data == {"name": "Eve"}
        assert world.steps() == [("merged", 0, MERGE)]


async def linked(world: World, *, room: bool = True) -> tuple[SessionId, SessionId]:
    """Return two linked sessions, the first with data; without `room` the other one can't take them over."""
    one, other = await world.session("ada", Platform.WEB), await world.session("ada", Platform.SLACK)
    for session in (one, other):
        await world.send(LinkIdentity(session_id=session, identity="ada"))
    await world.send(SetData(session_id=one, values={"precious": "x" * 200_000}))
    for number in range(0 if room else 5):
        await world.send(SetData(session_id=other, values={f"{number}": "x" * 200_000}))
    return one, other


MERGE_THEN_DELETE = a_rule("merged", MERGE, Step(action=DELETE, after=1), max_age=60.0).model_copy(
    update={"conditions": Conditions(max_age=60, platforms=(Platform.WEB,))}
)


async def test_what_can_not_be_merged_is_not_ended_and_is_tried_again(world: World) -> None:
    async with world.expiring(MERGE_THEN_DELETE) as worker:
        one, other = await linked(world, room=False)
        await world.scheduled(one)
        world.advance(60)
        await until_counted(world, worker, failed=1)
        await world.until(lambda: fails_again(world, worker))
        assert (await world.head(one)).is_live
        assert (world.steps(), [one async for one in iter_parked(world.store)]) == ([], [])

        await world.send(SetData(session_id=other, remove=("0", "1")))
        await until_status_later(world, one, SessionStatus.DELETED)
        assert (await world.head(other)).data.keys() == {"2", "3", "4", "precious"}
        await world.until_steps(2)
        assert world.steps() == [("merged", 0, MERGE), ("merged", 1, DELETE)]


@pytest.mark.parametrize("meanwhile", [CloseSession, DeleteSession, UnlinkIdentity])
async def test_a_merge_into_what_has_gone_or_was_unlinked_meanwhile_ends_nothing(
    world: World, meanwhile: type[CloseSession | DeleteSession | UnlinkIdentity]
) -> None:
    """It is no failure. The next time there is no other session: it expires by itself."""
    async with world.expiring(MERGE_THEN_DELETE) as worker:
        one, other = await linked(world)
        await world.scheduled(one)
        given = {"identity": "ada"} if meanwhile is UnlinkIdentity else {}
        commands = worker._due._acting._commands
        ask, lived = commands.ask, list[bool]()

        async def ask_too_late(command: Input) -> CommandReply:
            await world.send(meanwhile(session_id=other, **given))
            assert (await world.head(one)).is_live
            try:
                return await ask(command)
            finally:
                lived.append((await world.head(one)).is_live)

        commands.ask = ask_too_late  # type: ignore[method-assign, assignment]  # something happens just before
        with capture_logs() as logged:
            world.advance(60)
            await until_status_later(world, one, SessionStatus.DELETED)
        await until_counted(world, worker, expired=1, deleted=1)
        assert lived[0], "it is tried again at any moment from then on"
        await world.until_steps(2)
        assert world.steps() == [("merged", 0, EXPIRE), ("merged", 1, DELETE)]
    assert said(logged) == {Action.EXPIRY_OVERTAKEN}


def said(logged: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return what was logged of what becomes of steps."""
    return {line["event"] for line in logged} & {Action.EXPIRY_FAILED, Action.EXPIRY_OVERTAKEN}


async def test_one_that_is_deleted_while_it_is_archived_is_no_failure(world: World, tmp_path: Path) -> None:
    world.archive = open_archive(tmp_path.as_uri())
    async with world.expiring(a_rule("archived", CleanupAction.ARCHIVE)) as worker:
        session = await world.session("ada")
        await world.scheduled(session)
        commands = worker._due._acting._commands
        ask = commands.ask

        async def ask_too_late(command: Input) -> CommandReply:
            await world.send(DeleteSession(session_id=session))
            return await ask(command)

        commands.ask = ask_too_late  # type: ignore[method-assign, assignment]  # something happens just before
        with capture_logs() as logged:
            world.advance(60)
            await until_status_later(world, session, SessionStatus.DELETED)

            async def was_told() -> bool:
                return bool(said(logged))

            await world.until(was_told)
        assert said(logged) == {Action.EXPIRY_OVERTAKEN}


async def test_a_sweep_says_what_could_not_be_merged_and_ends_nothing(world: World) -> None:
    one, other = await linked(world, room=False)
    acting = ExpiryCommands(world.store, Inputs(world.bus), None, metrics=WorkerMetrics(), clock=world.clock)
    sweep = Sweep(world.store, [MERGE_THEN_DELETE], acting, world.clock)
    world.advance(60)

    async def found() -> list[tuple[SessionId, str, SweepOutcome]]:
        findings = [one async for one in sweep.run(dry_run=False) if isinstance(one, Finding)]
        return [(one.session_id, one.action, one.came) for one in findings]

    assert await found() == [(one, "merge", SweepOutcome.FAILED)]
    assert (await world.head(one)).is_live
    ask = acting._commands.ask

    async def ask_too_late(command: Input) -> CommandReply:
        await world.send(UnlinkIdentity(session_id=other, identity="ada"))
        return await ask(command)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(acting._commands, "ask", ask_too_late)
        assert await found() == [(one, "merge", SweepOutcome.OVERTAKEN)]
    await world.send(LinkIdentity(session_id=other, identity="ada"))
    await world.send(SetData(session_id=other, remove=("0", "1")))
    assert await found() == [(one, "merge", SweepOutcome.DONE)]
    assert "precious" in (await world.head(other)).data
