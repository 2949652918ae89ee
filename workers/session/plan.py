"""What one turn of a conversation will do: decided here, without I/O, and carried out by the committer."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agentbus.contracts.base import constructed, to_utc_milliseconds
from agentbus.contracts.commands import (
    AppendMessage,
    RestoreCommit,
    RestoreContent,
    SendReply,
    UnblockSession,
    UpdateSession,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    AccessDenied,
    ConversationBlocked,
    EditConflict,
    Refused,
    RequestReused,
    StoreDamaged,
)
from agentbus.contracts.events import AnyEvent, Commit, SessionStarted
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.session import FailurePolicy, SessionState
from agentbus.workers.delivery.failures import Failure, failure_of
from agentbus.workers.domain.admission.actor import check_access
from agentbus.workers.domain.admission.blocking import block, hold, is_beside
from agentbus.workers.domain.checks.states import DEFAULT
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.earlier import earlier_sessions, followed
from agentbus.workers.domain.evolve import fold, heads_after, sealed
from agentbus.workers.domain.line import places_of
from agentbus.workers.domain.repeats import caused_by, check_same
from agentbus.workers.domain.said import events_said, keys_said, unsaid
from agentbus.workers.session.lanes import Waiting


@dataclass(slots=True)
class Answer:
    """What became of one input: the events it caused, now or the first time, or why it failed."""

    waiting: Waiting
    events: tuple[AnyEvent, ...] = ()
    repeated: bool = False
    failure: Failure | None = None
    cause: str | None = None
    """The trace context of its processing, if spans are told of that."""


@dataclass(slots=True)
class Plan:
    """A turn, decided: what to append, the heads after it, and an answer to each input in order."""

    before: SessionState
    commit: Commit | None = None
    heads: tuple[SessionState, ...] = ()
    answers: list[Answer] = field(default_factory=list)
    repeated: list[Commit] = field(default_factory=list)
    """Commits that hold inputs of the turn already."""
    damaged: bool = False
    """Whether the conversation can't be read, and so nothing was decided."""

    @property
    def has_refused(self) -> bool:
        """Whether an input was refused."""
        return any(answer.failure and isinstance(answer.failure.error, Refused) for answer in self.answers)

    @property
    def after(self) -> SessionState:
        """The state once the plan is carried out."""
        return self.heads[-1] if self.heads else self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every decision of a round goes by."""

    now: datetime
    epoch: int
    on_failure: FailurePolicy
    resets: tuple[ResetPolicy, ...] = ()
    earlier: Mapping[SessionId, SessionState] = field(default_factory=dict)
    """The heads of earlier sessions, and of parents, that inputs are about, by id."""
    machine: StateMachine = DEFAULT
    """Which changes of state may be asked for."""
    lineage: int | None = None
    """After which restore of the store all happens."""
    failure: Failure | None = None
    """Why the inputs failed while they were carried out: they are not decided again."""


def plan_turn(state: SessionState, inputs: Sequence[Waiting], known: Mapping[InputId, Commit], terms: Terms) -> Plan:
    """Decide `inputs` one after the other. `known` holds the commits of those that the log has already.

    A failing input leaves no trace in the state, unless its conversation is to be blocked, and its neighbours are
    decided as if it were not there.
    """
    if inputs and isinstance(restoring := inputs[0].given.data, RestoreCommit):
        return _plan_restored(state, inputs[0], restoring, known, terms)
    plan = Plan(before=state)
    applied: dict[InputId, tuple[AnyEvent, ...]] = {}
    events: list[AnyEvent] = []
    ended: list[SessionState] = []
    earlier = dict(terms.earlier)
    for waiting in _in_line_first(state, inputs):
        input_id, data = waiting.given.id, waiting.given.data
        keys = keys_said(state, data)
        # A message is known by its own key too, whichever command brought it first.
        ids = (input_id, *keys) if keys and isinstance(data, AppendMessage | SendReply) else (input_id,)
        if before := _first_of(ids, applied):
            plan.answers.append(_repeated(state, waiting, applied[before], announce=False))
        elif before := _first_of(ids, known):
            caused, news = caused_by(before, known[before]), known[before].restored is None
            plan.answers.append(_repeated(state, waiting, caused, announce=news))
            plan.repeated.append(known[before])
        else:
            said = {key for key in keys if key in applied or key in known} if keys else keys
            given = _unsaid(state, waiting.given, said)
            answer = _decided(state, waiting, given, terms, earlier)
            plan.answers.append(answer)
            if earlier:
                _follow(earlier, answer.events)
            if answer.events and isinstance(answer.events[0], SessionStarted) and state is not plan.before:
                ended.append(state)  # the session that an earlier input of this turn ended
            more, after = fold(state, answer.events)
            if after.generation != state.generation:
                # Those that this turn itself has left behind: what comes later in it may be about one of them.
                earlier |= {one.session_id: one for one in (state, *more) if 0 < one.generation < after.generation}
            state = after
            ended += more
            events += answer.events
            if answer.events and not answer.failure:
                if keys:
                    applied |= events_said([key for key in keys if key not in known], answer.events)
                applied[input_id] = answer.events
    if events:
        plan.commit = constructed(
            Commit,
            conversation_id=state.conversation_id,
            version=plan.before.version + 1,
            epoch=terms.epoch,
            at=to_utc_milliseconds(terms.now),
            inputs=tuple(applied),
            events=tuple(events),
        )
        plan.heads = sealed(plan.before, ended, state, plan.commit)
    return plan


def _plan_restored(
    state: SessionState, waiting: Waiting, command: RestoreCommit, known: Mapping[InputId, Commit], terms: Terms
) -> Plan:
    """Decide the one command of a turn that brings a commit back: it is appended as it was, and not announced.

    Its own id is nowhere kept: that the version is there tells that it was carried out.
    """
    plan, commit = Plan(before=state), command.commit
    answer = _decided(state, waiting, waiting.given, terms, {})
    is_next = commit.version == state.version + 1
    if is_next and not answer.failure and (there := next((one for one in commit.inputs if one in known), None)):
        answer.failure = Failure(
            EditConflict(f"commit {known[there].version} of the conversation holds an input of it")
        )
    plan.answers.append(answer)
    if is_next and not answer.failure:
        plan.commit = commit.model_copy(update={"epoch": terms.epoch, "restored": command.restore})
        marks = {"version": commit.version, "epoch": terms.epoch}
        heads = {head.generation: head for head in heads_after(state, plan.commit)}
        heads |= {head.generation: head.model_copy(update=marks) for head in command.heads}
        plan.heads = tuple(heads[generation] for generation in sorted(heads))
    answer.events = ()
    return plan


def failed_turn(conversation: ConversationId, inputs: Sequence[Waiting], damage: StoreDamaged) -> Plan:
    """Give up all inputs of a conversation that can't be read."""
    answers = [Answer(waiting, failure=Failure(damage)) for waiting in inputs]
    return Plan(before=SessionState.empty(conversation), answers=answers, damaged=True)


def _in_line_first(state: SessionState, inputs: Sequence[Waiting]) -> Sequence[Waiting]:
    """Return inputs as a blocked conversation takes them: what it waits for, then what came in between."""
    if state.blocked_by is None:
        return inputs
    places = places_of(state, map(_about, inputs))
    return sorted(inputs, key=lambda one: places.get(_about(one), len(inputs) + len(state.waiting)))


def _about(waiting: Waiting) -> InputId:
    """Return the input that this one is about: itself, or the one that it lets the conversation pass over."""
    data = waiting.given.data
    return InputId(data.input) if isinstance(data, UnblockSession) and data.input else waiting.given.id


def _first_of(ids: Iterable[InputId], there: Container[InputId]) -> InputId | None:
    for one in ids:
        if one in there:
            return one
    return None


def _follow(earlier: dict[SessionId, SessionState], events: Sequence[AnyEvent]) -> None:
    for event in events:
        for session in earlier.keys() & set(earlier_sessions(event)):
            earlier[session] = followed(earlier[session], event)


def _unsaid(state: SessionState, given: Input, said: Collection[InputId]) -> Input:
    if not isinstance(given.data, UpdateSession | RestoreContent):
        return given
    return Input(given.id, unsaid(state, given.data, said))


def _decided(
    state: SessionState, waiting: Waiting, given: Input, terms: Terms, earlier: Mapping[SessionId, SessionState]
) -> Answer:
    if terms.failure is not None:
        return _failed_for_good(state, waiting, terms.failure, terms)
    try:
        machine, lineage = terms.machine, terms.lineage
        caused = decide(state, given, terms.now, terms.resets, earlier, machine=machine, lineage=lineage)
        return Answer(waiting, caused)
    except ConversationBlocked as error:
        # A caller who waits for the answer is told; what is parked gets its place in line.
        held = () if waiting.delivery.reply_to else hold(state, waiting.given.id, terms.now, lineage=terms.lineage)
        return Answer(waiting, held, failure=Failure(error))
    except Refused as error:
        return Answer(waiting, failure=Failure(error))
    except Exception as error:
        # A fault of ours must cost one input, not a worker: it is parked with its traceback.
        return _failed_for_good(state, waiting, failure_of(error), terms)


def _failed_for_good(state: SessionState, waiting: Waiting, failure: Failure, terms: Terms) -> Answer:
    """Answer an input that is to be parked: its conversation may have to wait for it."""
    if is_beside(waiting.given.data):
        return Answer(waiting, failure=failure)
    given, now, lineage = waiting.given.id, terms.now, terms.lineage
    if state.blocked_by is not None:
        return Answer(waiting, hold(state, given, now, lineage=lineage), failure=failure)
    caused = block(state, given, failure.error.code, now, default=terms.on_failure, lineage=lineage)
    return Answer(waiting, caused, failure=failure)


def _repeated(state: SessionState, waiting: Waiting, caused: tuple[AnyEvent, ...], *, announce: bool = True) -> Answer:
    """Answer an input that was applied before: to whoever gave it then, and to who may do now what it asks for."""
    data = waiting.given.data
    actor = None if isinstance(data, InboundMessage) else data.actor
    if not isinstance(data, InboundMessage) and actor is not None and all(event.actor != actor for event in caused):
        try:
            check_access(state, data)
        except AccessDenied as error:
            return Answer(waiting, failure=Failure(error))
    if not isinstance(data, InboundMessage):
        try:
            check_same(data, caused)
        except RequestReused as error:
            return Answer(waiting, failure=Failure(error))
    return Answer(waiting, caused if announce else (), repeated=True)
