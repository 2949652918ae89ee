"""The ledger: what became of each hostile message. One that nobody can account for is a fault."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from agentbus.contracts.address import Scope
from agentbus.contracts.commands import CommandReply
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.parked import ParkedId, ParkedInput, parked_id_for
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.redaction import digest_input
from tests.attack.crafted.hostile import Shot

_EXAMPLES: Final = 5


class Fate(StrEnum):
    """What may become of a message."""

    COMMITTED = "committed"
    """It is in its conversation's log, or was carried out and changed nothing: its sender was told so."""
    REPEATED = "repeated"
    """The same bytes were sent before: counted there."""
    REFUSED = "refused"
    """Its sender was told why not."""
    PARKED = "parked"
    """An operator can see it, with the reason."""
    UNACCOUNTED = "unaccounted"
    """Nobody knows."""


@dataclass(slots=True)
class Ledger:
    """Each message's fate, counted."""

    fates: Counter[Fate] = field(default_factory=Counter)
    kinds: dict[str, Counter[Fate]] = field(default_factory=lambda: defaultdict(Counter))
    codes: Counter[str] = field(default_factory=Counter)
    """Why they were parked."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Why they were refused."""
    carried_out: int = 0
    """Of what had to fail: changed something, or was answered, be it parked beside."""
    parkings: int = 0
    """How often something was parked, the same again included."""
    examples: list[str] = field(default_factory=list)
    """Of what is wrong."""

    def show(self, wrong: str, shot: Shot) -> None:
        """Keep an example, unless there are enough."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{wrong}: {shot.kind} {shot.message_id!r} {shot.body[:200]!r}")

    def as_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON values."""
        return {
            "fates": dict(self.fates),
            "kinds": {kind: dict(fates) for kind, fates in sorted(self.kinds.items())},
            "parked_for": dict(self.codes.most_common()),
            "refused_for": dict(self.refusals.most_common()),
            "carried_out": self.carried_out,
            "examples": self.examples,
        }


@dataclass(frozen=True, slots=True)
class _Traces:
    """Where a message may be found again."""

    parked: frozenset[ParkedId]
    applied: tuple[ConversationId, InputId] | None = None


async def reckon(sent: Sequence[Shot], replies: Mapping[int, CommandReply], store: Store, bus: Bus) -> Ledger:
    """Find each of `sent` again. Raises StoreError."""
    traces = _Tracer(bus)
    found = [traces.of(shot) for shot in sent]
    parked = {one.parked_id: one async for one in iter_parked(store)}
    applied = await _applied(store, {one.applied for one in found if one.applied})
    ledger, seen = Ledger(), set[tuple[str, bytes]]()
    ledger.parkings = sum(one.attempts for one in parked.values())
    for number, (shot, trace) in enumerate(zip(sent, found, strict=True)):
        record = next((parked[one] for one in trace.parked if one in parked), None)
        if (shot.message_id, shot.body) in seen:
            fate = Fate.REPEATED
        else:
            seen.add((shot.message_id, shot.body))
            reply, is_applied = replies.get(number), trace.applied in applied
            fate = _fate(record, reply, is_applied=is_applied)
            _explain(ledger, shot, fate, record, reply)
            if shot.must_fail and (is_applied or (reply and not reply.error)):
                ledger.carried_out += 1
                ledger.show("carried out", shot)
        ledger.fates[fate] += 1
        ledger.kinds[shot.kind][fate] += 1
    return ledger


def _fate(record: ParkedInput | None, reply: CommandReply | None, *, is_applied: bool) -> Fate:
    if record is not None:
        return Fate.PARKED
    if is_applied:
        return Fate.COMMITTED
    if reply is None:
        return Fate.UNACCOUNTED
    return Fate.REFUSED if reply.error else Fate.COMMITTED


def _explain(ledger: Ledger, shot: Shot, fate: Fate, record: ParkedInput | None, reply: CommandReply | None) -> None:
    wrong = ""
    if record is not None:
        ledger.codes[record.code] += 1
        if not record.code or not record.reason:
            wrong = "parked without a reason"
    elif fate is Fate.REFUSED and reply and reply.error:
        ledger.refusals[reply.error.code] += 1
    elif fate is Fate.UNACCOUNTED:
        wrong = "unaccounted"
    if wrong:
        ledger.show(wrong, shot)


class _Tracer:
    def __init__(self, bus: Bus) -> None:
        self._inputs = Inputs(bus)
        self._ingress = bus.topology.ingress.encode()

    def of(self, shot: Shot) -> _Traces:
        ids = {parked_id_for(shot.message_id, shot.body)}
        try:
            envelope = InputEnvelope.from_bytes(shot.body)
            if shot.routing_key == self._ingress:
                # The router writes the envelope anew: it may be parked behind it as that.
                passed_on: Message = self._inputs.routed(envelope).message
                ids.add(parked_id_for(passed_on.message_id, passed_on.body))
            applied = envelope.conversation(Scope.PER_CHAT_USER), envelope.input_id
        except AgentBusError:
            return _Traces(frozenset(ids))
        return _Traces(frozenset(ids), applied)


async def _applied(
    store: Store, asked: Iterable[tuple[ConversationId, InputId]]
) -> set[tuple[ConversationId, InputId] | None]:
    """Return those that are in their conversation's log, also where an erasure left nothing but the digests of ids."""
    by_conversation: dict[ConversationId, set[InputId]] = defaultdict(set)
    for conversation, input_id in asked:
        by_conversation[conversation].add(input_id)
    applied: set[tuple[ConversationId, InputId] | None] = set()
    for conversation, ids in by_conversation.items():
        forms = {one: one for one in ids} | {digest_input(one): one for one in ids}
        for form in await store.log.commits_of_inputs(conversation, list(forms)):
            applied.add((conversation, forms[form]))
    return applied
