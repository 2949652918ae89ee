"""The decider: reads what the turns of a round need to know, and decides them."""

from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from functools import cache

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import RestoreCommit, RestoreContent
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.delivery.failures import Failure
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.admission.target import about_another
from agentbus.workers.domain.redaction import digest_input
from agentbus.workers.domain.said import keys_said
from agentbus.workers.installation.joining import LineageBook
from agentbus.workers.installation.machine import MachineBook
from agentbus.workers.session.arrears import Arrears
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.lanes import Turn
from agentbus.workers.session.live import LiveStates
from agentbus.workers.session.ownership import Ownership
from agentbus.workers.session.plan import Plan, Terms, failed_turn, plan_turn

Planned = tuple[Turn, Plan]


class Decider:
    """Takes epochs, loads states and what the log knows, and plans turns. What it reads it waits for."""

    def __init__(
        self,
        store: Store,
        live: LiveStates,
        ownership: Ownership,
        arrears: Arrears,
        *,
        machine: MachineBook,
        config: SessionWorkerConfig,
        clock: Clock,
    ) -> None:
        self._store = store
        self._live = live
        self._ownership = ownership
        self._arrears = arrears
        self._machine = machine
        self._lineage = LineageBook(store, clock)
        self._config = config
        self._clock = clock

    async def decide(self, turns: Sequence[Turn], *, suspect: bool, failure: Failure | None) -> list[Planned]:
        """Decide those turns that are still ours; `suspect` asks the log about every input, not the redelivered alone.

        If there is a `failure`, that is what becomes of those inputs that the log does not know.
        """
        loaded: dict[ConversationId, SessionState | StoreDamaged] = {}
        restores = _restores_in(turns)
        held = {turn.lane.conversation for turn in turns if turn.lane.conversation in self._live}

        async def load() -> None:
            loaded.update(await keep_trying("load", self._live.get, {turn.lane.conversation for turn in turns}))

        if any(turn.lease.epoch is None for turn in turns):
            await side_by_side([load(), *self._looks_anew(restores)])
            # Last: the next round of these partitions finds that all of this is known.
            await keep_trying("take epochs", self._ownership.take_epochs, {turn.lease for turn in turns})
        else:
            await load()
        machine = await keep_trying("read the state machine", self._machine.look)
        lineage = await keep_trying("read the lineage", self._lineage.look, restores=restores)
        states = {key: state for key, state in loaded.items() if isinstance(state, SessionState)}
        ours: list[Turn] = []
        damaged: list[Planned] = []
        for turn in turns:
            if isinstance(damage := loaded[turn.lane.conversation], StoreDamaged):
                damaged.append((turn, failed_turn(turn.lane.conversation, turn.inputs, damage)))
                continue
            epoch = states[turn.lane.conversation].epoch
            if epoch > (turn.lease.epoch or 0) and not self._config.embedded:
                self._ownership.note_epoch(turn.lane.partition, epoch)
                if turn.lease.valid:
                    self._ownership.fence(turn.lane.partition)
            if turn.lease.valid:
                ours.append(turn)
        known = await self._known(ours, states, suspect=suspect)
        earlier = await self._earlier(ours, states)
        now = self._clock.now()

        @cache
        def terms(epoch: int) -> Terms:
            return Terms(
                now=now,
                epoch=epoch,
                on_failure=self._config.on_failure,
                resets=self._config.resets,
                earlier=earlier,
                machine=machine,
                lineage=lineage,
                failure=failure,
            )

        def plan(turn: Turn) -> Planned:
            state = states[turn.lane.conversation]
            # The highest epoch there is: an owner's own, or that of another process that writes to the same store.
            epoch = max(turn.lease.epoch or 0, state.epoch)
            return turn, plan_turn(state, turn.inputs, known.get(turn.lane.conversation, {}), terms(epoch))

        planned = [plan(turn) for turn in ours]
        if self._config.embedded and (unsure := [turn for turn, one in planned if _is_unsure(turn, one, held)]):
            for turn in unsure:
                self._live.drop(turn.lane.conversation)
            again = await self.decide(unsure, suspect=suspect, failure=failure)
            return [(turn, one) for turn, one in planned if turn not in unsure] + damaged + again
        if suspect or not (refused := [turn for turn, one in planned if one.has_refused]):
            return planned + damaged
        # A command that was carried out long ago, and is sent again by a caller who never heard of it, may be against
        # the rules by now: what it caused then is the answer.
        known.update(await self._known(refused, states, suspect=True))
        return [plan(turn) if turn in refused else (turn, one) for turn, one in planned] + damaged

    def _looks_anew(self, restores: Collection[str]) -> Iterator[Coroutine[None, None, object]]:
        """Read what an owner before us, or somebody while nobody owned the partition, may have changed.

        What that owner commits after we have loaded does no harm: our commit of that version is refused, and decided
        again.
        """
        yield keep_trying("look for what was not announced", self._arrears.know)
        yield keep_trying("read the state machine", self._machine.look, anew=True)
        yield keep_trying("read the lineage", self._lineage.look, anew=True, restores=restores)

    async def _known(
        self, turns: Sequence[Turn], states: Mapping[ConversationId, SessionState], *, suspect: bool
    ) -> dict[ConversationId, Mapping[InputId, Commit]]:
        """Ask the log for inputs, and messages that they bring, that may have been committed before.

        Where something was erased all are asked for, by the digests too that took the place of some ids.
        """
        asked: dict[ConversationId, dict[InputId, InputId]] = {}
        for turn in turns:
            state = states[turn.lane.conversation]
            for waiting in turn.inputs:
                named = (waiting.given.id, *keys_said(state, waiting.given.data))
                recent = any(one in state.recent_inputs for one in named)
                if suspect or waiting.delivery.redelivered or state.erased or recent:
                    ids = asked.setdefault(turn.lane.conversation, {})
                    ids |= {one: one for one in named}
                    ids |= {digest_input(one): one for one in named} if state.erased else {}
        found = await side_by_side(
            keep_trying("look up inputs", self._store.log.commits_of_inputs, conversation, list(ids))
            for conversation, ids in asked.items()
        )
        return {
            conversation: {ids[one]: commit for one, commit in commits.items()}
            for (conversation, ids), commits in zip(asked.items(), found, strict=True)
        }

    async def _earlier(
        self, turns: Sequence[Turn], states: Mapping[ConversationId, SessionState]
    ) -> Mapping[SessionId, SessionState]:
        """Read the heads of other sessions than the current ones that inputs are about."""
        named = {
            session
            for turn in turns
            for waiting in turn.inputs
            if (session := about_another(states[turn.lane.conversation], waiting.given.data))
        }
        return await keep_trying("load heads", self._store.heads.get_many, named) if named else {}


def _is_unsure(turn: Turn, plan: Plan, held: Collection[ConversationId]) -> bool:
    """Whether a plan goes by a state in memory, and nothing will tell whether another process has changed it since.

    A commit tells: of its version there is one then. What is refused, or was done before, may not be by now.
    """
    told = plan.commit is not None and all(answer.events and not answer.failure for answer in plan.answers)
    return turn.lane.conversation in held and not told


def _restores_in(turns: Sequence[Turn]) -> set[str]:
    """Return the names of the restores that inputs are a part of."""
    given = (waiting.given.data for turn in turns for waiting in turn.inputs)
    return {data.restore for data in given if isinstance(data, RestoreCommit | RestoreContent)}
