"""Edits, deletions and reactions: whose conversation they go to, and that they begin nothing."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.commands import (
    AnyCommand,
    ChangeState,
    CloseSession,
    DeleteSession,
    EraseConversation,
    ExtendSession,
    ResetSession,
    SetMetadata,
)
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import TargetNotFound
from agentbus.contracts.events import Amendment
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.history import HistoryMessage, SessionFilter
from agentbus.contracts.messages import (
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    ReactionContent,
    TextContent,
)
from agentbus.contracts.session import FAILURE_POLICY_KEY, FailurePolicy, SessionState, SessionStatus
from agentbus.storage.history import iter_history
from agentbus.workers.domain.decide import decide
from tests.harness.conversations import NOW, address, given, message
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after
from tests.unit.workers.session.test_worker import Bench, running

ABOUT: tuple[Content, ...] = (
    EditContent(target="1", text="hullo"),
    DeleteContent(target="1"),
    ReactionContent(target="1", reaction="heart"),
)
over_all = pytest.mark.parametrize("content", ABOUT, ids=lambda content: content.kind)


@over_all
@pytest.mark.parametrize(
    "end",
    [
        CloseSession(),
        DeleteSession(),
        ChangeState(status=SessionStatus.EXPIRED),
        ChangeState(status=SessionStatus.ARCHIVED),
    ],
    ids=lambda end: getattr(end, "status", end.kind),
)
def test_what_comes_after_the_end_belongs_to_the_session_that_was_there(content: Content, end: AnyCommand) -> None:
    ended = after(LIVE, end)
    (event,) = decide(ended, given(message("late", content=content)), NOW)
    assert isinstance(event, Amendment)
    assert event.session_id == LIVE.session_id
    assert after(ended, message("late", content=content)).status is ended.status


@over_all
def test_what_comes_once_its_time_was_over_begins_no_other_session(content: Content) -> None:
    mortal = after(LIVE, ExtendSession(seconds=60))
    expired, event = decide(mortal, given(message("late", content=content)), NOW + timedelta(seconds=61))
    assert (expired.kind, event.session_id) == ("state_changed", LIVE.session_id)


@over_all
def test_a_reset_policy_does_not_end_a_session_for_it(content: Content) -> None:
    policy = ResetPolicy(idle_minutes=1)
    (event,) = decide(LIVE, given(message("late", content=content)), NOW + timedelta(hours=9), (policy,))
    assert event.session_id == LIVE.session_id


@over_all
def test_where_nobody_ever_said_anything_there_is_nothing_to_amend(content: Content) -> None:
    with pytest.raises(TargetNotFound, match="target_user"):
        decide(EMPTY, given(message("r", content=content)), NOW)


@over_all
def test_nothing_is_said_in_a_conversation_that_was_erased(content: Content) -> None:
    erased = after(LIVE, EraseConversation())
    with pytest.raises(TargetNotFound):
        decide(erased, given(message("late", content=content)), NOW)


@over_all
@pytest.mark.parametrize("scope", Scope)
def test_it_goes_to_the_conversation_of_whom_it_is_about(content: Content, scope: Scope) -> None:
    ann, bob = (Address(platform=Platform.SLACK, account="a", chat="g", thread="t", user=one) for one in ("ann", "bob"))

    def conversation(what: Content, where: Address) -> str:
        data = InboundMessage(address=where, message_id="1", sent_at=NOW, content=what)
        return InputEnvelope(id="1", data=data).conversation(scope)

    about_ann = content.model_copy(update={"target_user": "ann"})
    assert conversation(about_ann, bob) == conversation_id_for(ann, scope)
    assert conversation(content, bob) == conversation_id_for(bob, scope)
    assert conversation(TextContent(text="hi"), bob) == conversation_id_for(bob, scope)


async def sessions(bench: Bench) -> list[SessionState]:
    return list((await bench.store.heads.page(SessionFilter())).items)


async def until_history(bench: Bench, count: int) -> list[HistoryMessage]:
    """Wait until so many amendments were announced, and return the history of the only session."""
    await bench.until(lambda bench: sum(isinstance(event.data, Amendment) for event in bench.events) >= count)
    (head,) = await sessions(bench)
    return [item async for item in iter_history(bench.store, head)]


async def test_anothers_reaction_shows_on_the_message_and_opens_no_session() -> None:
    async with running() as bench:
        await bench.client.publish(message(1, "hi"))
        reaction = ReactionContent(target="1", target_user="ada", reaction="heart")
        await bench.client.publish(message("r", content=reaction, user="bob"))
        (item,) = await until_history(bench, 1)
        assert [(one.user, one.reaction) for one in item.reactions] == [("bob", "heart")]


async def test_a_late_deletion_is_worked_in_and_opens_no_session() -> None:
    async with running() as bench:
        await bench.client.publish(message(1, "hi"))
        await bench.client.send(CloseSession(address=address()))
        await bench.client.publish(message("d", content=DeleteContent(target="1")))
        (item,) = await until_history(bench, 1)
        assert item.message.content == TextContent()
        assert (await sessions(bench))[0].status is SessionStatus.CLOSED


async def test_a_deletion_after_two_resets_is_read_in_the_first_session() -> None:
    async with running() as bench:
        await bench.client.publish(message(1, "hi"))
        for _ in range(2):
            await bench.client.send(ResetSession(address=address()))
        await bench.client.send(CloseSession(address=address()))
        await bench.client.publish(message("d", content=DeleteContent(target="1")))
        await bench.until(lambda bench: any(isinstance(event.data, Amendment) for event in bench.events))
        heads = await sessions(bench)
        assert len(heads) == 3
        found = [item for head in heads async for item in iter_history(bench.store, head)]
        assert [item.message.content for item in found] == [TextContent()]


async def test_what_has_no_target_is_parked_with_its_reason_and_blocks_nobody() -> None:
    async with running() as bench:
        await bench.client.publish(message(1, "hi"))
        policy = {FAILURE_POLICY_KEY: FailurePolicy.BLOCK}
        await bench.client.send(SetMetadata(address=address(), values=dict(policy)))
        reaction = ReactionContent(target="1", reaction="heart")
        await bench.client.publish(message("r", content=reaction, user="bob"))
        (parked,) = await bench.parked()
        assert (parked.code, "target_user" in parked.reason) == ("target_not_found", True)
        await bench.client.publish(message(2, "again"))
        await bench.until_texts(2)
        assert [head.address.user for head in await sessions(bench) if head.address] == ["ada"]
