"""Laws of the session's state machine, over any sequence of inputs."""

from datetime import timedelta

from hypothesis import given as over
from hypothesis import strategies as st

from contracts.commands import (
    AnyCommand,
    AppendMessage,
    ChangeState,
    CloseSession,
    CreateSession,
    ResetSession,
    SetData,
    SetMetadata,
)
from contracts.errors import Refused
from contracts.events import Commit
from contracts.ids import InputId
from contracts.messages import (
    DeleteContent,
    EditContent,
    InboundMessage,
    OutboundMessage,
    ReactionContent,
    TextContent,
)
from contracts.session import SessionState, SessionStatus
from tests.conversations import CONVERSATION, NOW, message
from workers.domain.decide import Input, decide
from workers.domain.evolve import heads_after, replay

values = st.dictionaries(st.sampled_from("abc"), st.integers(-3, 3), max_size=3)
removals = st.lists(st.sampled_from("abc"), max_size=2).map(tuple)
contents = st.one_of(
    st.builds(TextContent, text=st.text(max_size=8)),
    st.builds(EditContent, target=st.sampled_from("123"), text=st.text(max_size=8)),
    st.builds(DeleteContent, target=st.sampled_from("123")),
    st.builds(ReactionContent, target=st.sampled_from("123"), reaction=st.sampled_from("👍👎"), removed=st.booleans()),
)
inbound = st.builds(lambda content: message(content=content), contents)
commands: st.SearchStrategy[AnyCommand] = st.one_of(
    st.builds(CreateSession, keep_live=st.booleans(), data=values),
    st.builds(AppendMessage, message=st.just(OutboundMessage(content=TextContent(text="ok")))),
    st.builds(SetData, values=values, remove=removals),
    st.builds(SetMetadata, values=values, remove=removals),
    st.builds(ResetSession),
    st.builds(CloseSession),
    st.builds(ChangeState, status=st.sampled_from(SessionStatus)),
)
payloads: st.SearchStrategy[InboundMessage | AnyCommand] = st.one_of(inbound, commands)
steps = st.lists(payloads, max_size=30)


def run(payloads: list[InboundMessage | AnyCommand]) -> tuple[SessionState, list[Commit], list[SessionState]]:
    """Apply payloads one by one; return the state, the log, and every head on the way."""
    state, log, heads = SessionState.empty(CONVERSATION), list[Commit](), list[SessionState]()
    for number, data in enumerate(payloads):
        given = Input(InputId(f"i{number}"), data)
        try:
            events = decide(state, given, NOW + timedelta(seconds=number))
        except Refused:
            continue
        if events:
            commit = Commit(
                conversation_id=CONVERSATION, version=state.version + 1, at=NOW, inputs=(given.id,), events=events
            )
            log.append(commit)
            heads += heads_after(state, commit)
            state = heads[-1]
    return state, log, heads


@over(steps)
def test_replaying_the_log_gives_the_head(payloads: list[InboundMessage | AnyCommand]) -> None:
    state, log, _ = run(payloads)
    assert replay(SessionState.empty(CONVERSATION), log) == state
    travelled = [Commit.model_validate_json(commit.model_dump_json()) for commit in log]
    assert replay(SessionState.empty(CONVERSATION), travelled) == state


@over(steps, st.integers(0, 29))
def test_replaying_from_any_head_gives_the_head(payloads: list[InboundMessage | AnyCommand], cut: int) -> None:
    state, log, _ = run(payloads)
    start = replay(SessionState.empty(CONVERSATION), log[:cut])
    assert replay(SessionState.model_validate_json(start.model_dump_json()), log[cut:]) == state


@over(steps)
def test_versions_and_sequences_are_contiguous(payloads: list[InboundMessage | AnyCommand]) -> None:
    _, log, _ = run(payloads)
    assert [commit.version for commit in log] == list(range(1, len(log) + 1))
    sequences: dict[str, list[int]] = {}
    for commit in log:
        for event in commit.events:
            sequences.setdefault(event.session_id, []).append(event.sequence)
    for numbers in sequences.values():
        assert numbers == list(range(1, len(numbers) + 1))


@over(steps, payloads)
def test_applying_an_input_twice_equals_once(
    earlier: list[InboundMessage | AnyCommand], data: InboundMessage | AnyCommand
) -> None:
    state, _, _ = run([*earlier, data])
    last = Input(InputId(f"i{len(earlier)}"), data)
    if last.id in state.recent_inputs:
        assert decide(state, last, NOW + timedelta(hours=1)) == ()


@over(steps)
def test_every_session_but_the_last_has_ended_and_its_head_says_so(
    payloads: list[InboundMessage | AnyCommand],
) -> None:
    state, _, heads = run(payloads)
    latest = {head.session_id: head for head in heads}
    for head in latest.values():
        if head.session_id != state.session_id:
            assert not head.is_live
            assert head.version <= state.version
            assert head.first_version >= 1
    assert [head.generation for head in latest.values()] == list(range(1, len(latest) + 1))


@over(steps)
def test_heads_survive_the_wire(payloads: list[InboundMessage | AnyCommand]) -> None:
    for head in run(payloads)[2]:
        assert SessionState.model_validate_json(head.model_dump_json()) == head
