"""Logs of what may happen in a conversation, made at random by the domain itself."""

from datetime import datetime, timedelta
from random import Random

from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ChangeState,
    CloseSession,
    EraseConversation,
    ResetSession,
    SetData,
)
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from tests.harness.conversations import CONVERSATION, NOW, given, message


def a_log(random: Random, inputs: int, *, erasures: bool = True) -> list[Commit]:
    """Return the commits of so many inputs to a conversation: words, answers, pauses, ends, and erasures."""
    state, now = SessionState.empty(CONVERSATION), NOW
    commits: list[Commit] = []
    for number in range(inputs):
        now += timedelta(seconds=random.choice((1, 20, 70, 4_000, 90_000)))
        data = _given(random, state, number, now, erasures=erasures)
        state = _decided(state, data, number, now, commits)
    return commits


def _given(
    random: Random, state: SessionState, number: int, now: datetime, *, erasures: bool
) -> InboundMessage | AnyCommand:
    if not state.generation or random.random() < 0.5:
        return message(number, "hello", sent_at=now - timedelta(seconds=random.choice((0, 3, 100_000))))
    session = state.session_id
    others: list[AnyCommand] = [
        AppendMessage(session_id=session, message=OutboundMessage(content=TextContent(text="an answer"))),
        AppendMessage(session_id=session, message=OutboundMessage(content=TextContent(text="and more"))),
        SetData(session_id=session, values={"n": number}),
        ChangeState(session_id=session, status=random.choice([SessionStatus.IDLE, SessionStatus.SUSPENDED])),
        CloseSession(session_id=session),
        ResetSession(session_id=session),
    ]
    if erasures and random.random() < 0.1:
        return EraseConversation(session_id=session)
    return random.choice(others)


def _decided(
    state: SessionState, data: InboundMessage | AnyCommand, number: int, now: datetime, commits: list[Commit]
) -> SessionState:
    one = given(data, f"input-{number}")
    try:
        events = decide(state, one, now)
    except AgentBusError:
        return state  # it was no time for that
    if not events:
        return state
    commit = Commit(
        conversation_id=ConversationId(CONVERSATION),
        version=state.version + 1,
        at=now,
        inputs=(InputId(one.id),),
        events=events,
    )
    commits.append(commit)
    return heads_after(state, commit)[-1]
