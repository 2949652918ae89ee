"""Hostile messages: a seeded stream of every kind that is known to have hurt, or might."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from typing import Any, Final

from agentbus.contracts.base import MAX_INPUT_BYTES
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.ids import ConversationId, Partition, digest_of
from agentbus.contracts.topology import Topology
from tests.attack.crafted.contracts import Contracts
from tests.attack.crafted.mutations import as_json, damaged, mutated
from tests.attack.crafted.properties import forged_headers, odd
from tests.harness.raw_amqp import short

REPLIES: Final = "amq.rabbitmq.reply-to"
"""Direct reply-to: the broker puts the sender's own address in its place."""

_CONVERSATIONS: Final = 200
_LARGE: Final = 1_000_000
_REMEMBERED: Final = 200
_LISTED: Final = frozenset({"mutant", "refused", "large"})
_MUST_FAIL: Final = frozenset({"forged command", "refused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One hostile message, as it goes to the broker."""

    kind: str
    exchange: str
    routing_key: bytes
    body: bytes
    properties: Mapping[str, bytes] = field(default_factory=dict)
    message_id: str = ""
    """As a reader of its properties has it."""

    @property
    def listed(self) -> bool:
        """Whether it comes from a broker user who may give commands; else from one who may only speak."""
        return self.kind in _LISTED

    @property
    def must_fail(self) -> bool:
        """Whether it would change, or tell, what is not its sender's."""
        return self.kind in _MUST_FAIL

    @property
    def asks(self) -> bool:
        """Whether its sender wants a reply."""
        return self.properties.get("reply_to") == short(REPLIES.encode())


class Hostile:
    """Makes shots; the same seed makes the same ones. `only`: all that have a partition go to this one."""

    def __init__(self, topology: Topology, seed: str, *, only: Partition | None = None) -> None:
        self._topology = topology
        self._random = random = Random(seed)
        self._contracts = Contracts(random)
        self._numbers = iter(range(1, 1_000_000_000))
        named = (ConversationId(digest_of(("attack", seed, str(number)))) for number in count())
        mine = (one for one in named if only in {None, topology.partition_of(one)})
        self._conversations = list(islice(mine, _CONVERSATIONS))
        self._earlier: list[Shot] = []

    def shots(self, many: int) -> Iterator[Shot]:
        """Make `many` shots, each kind as often as its weight says."""
        kinds = list(_WEIGHTS)
        for kind in self._random.choices(kinds, weights=[_WEIGHTS[one] for one in kinds], k=many):
            yield kind(self)

    def junk(self) -> Shot:
        """Make bytes that are no envelope."""
        number = next(self._numbers)
        body = damaged(as_json(self._text(number), self._random), self._random) + b" %d" % number
        return self._to_partition("junk", number, self._conversation(), body)

    def mutant(self) -> Shot:
        """Make an input of any kind, wrong in some places; its sender wants to know what became of it."""
        number, conversation = next(self._numbers), self._conversation()
        kind = self._random.choice(self._contracts.kinds)
        envelope = mutated(self._contracts.envelope(kind, conversation=conversation, number=number), self._random)
        body = as_json(envelope, self._random)
        return self._to_partition("mutant", number, conversation, body, reply_to=short(REPLIES.encode()))

    def forged(self) -> Shot:
        """Make a valid command or query by a broker user who may give none; a reply is asked for."""
        number, conversation = next(self._numbers), self._conversation()
        kinds = [kind for kind in self._contracts.kinds if kind != "message"]
        while True:
            kind = self._random.choice(kinds)
            body = as_json(self._contracts.envelope(kind, conversation=conversation, number=number), self._random)
            with suppress(SchemaViolation):  # the schema does not tell all the rules
                InputEnvelope.from_bytes(body)
                break
        return self._to_partition("forged command", number, conversation, body, reply_to=short(REPLIES.encode()))

    def unanswered(self) -> Shot:
        """Make a command about a session that does not exist, from somebody who wants no reply."""
        number, conversation = next(self._numbers), self._conversation()
        command = {"kind": "close_session", "session_id": f"{conversation}.7", "actor": "stranger"}
        body = as_json(self._enveloped(number, command), self._random)
        return self._to_partition("refused", number, conversation, body)

    def oddity(self) -> Shot:
        """Make a message whose properties no library would write, with a body that is right or wrong."""
        number, conversation = next(self._numbers), self._conversation()
        body = as_json(self._text(number, conversation), self._random)
        if self._random.random() < 0.4:
            body = b"odd %d " % number + body[: self._random.randrange(len(body))]
        return self._to_partition("odd properties", number, conversation, body, **odd(self._random))

    def misled(self) -> Shot:
        """Make a valid message in the wrong partition."""
        number, here = next(self._numbers), self._topology.partition_of(self._conversation())
        elsewhere = (ConversationId(digest_of(("elsewhere", str(number), str(one)))) for one in count())
        conversation = next(one for one in elsewhere if self._topology.partition_of(one) != here)
        body = as_json(self._text(number, conversation), self._random)
        return self._shot("wrong partition", number, self._topology.inbound, self._topology.routing_key(here), body)

    def repeated(self) -> Shot:
        """Take an earlier shot once more."""
        return self._random.choice(self._earlier) if self._earlier else self.junk()

    def flood(self) -> Shot:
        """Make one more message of a conversation that never stops."""
        number, conversation = next(self._numbers), self._conversations[0]
        body = as_json(self._text(number, conversation), self._random)
        return self._to_partition("flood", number, conversation, body)

    def forged_record(self) -> Shot:
        """Make a record of a parking that never was, put into the parking queue by hand."""
        number = next(self._numbers)
        body = b"forged record %d" % number
        return self._shot("forged record", number, "", self._topology.parked, body, headers=forged_headers(number))

    def expired(self) -> Shot:
        """Make a message that the broker may dead-letter at once, with headers that would speak for us."""
        number, conversation = next(self._numbers), self._conversation()
        body = as_json(self._text(number, conversation), self._random)
        properties = {"expiration": short(b"1"), "headers": forged_headers(number)}
        return self._to_partition("expired", number, conversation, body, **properties)

    def ingress(self) -> Shot:
        """Make something for the router: junk, a mutant, an id that is too long in bytes."""
        number = next(self._numbers)
        envelope = self._text(number)
        match self._random.randrange(3):
            case 0:
                body = b"junk %d" % number
            case 1:
                envelope["id"] = f"{number} " + "ä" * 240
                body = as_json(envelope, self._random)
            case _:
                body = as_json(mutated(envelope, self._random) | {"source": f"/attack/{number}"}, self._random)
        return self._shot("ingress", number, "", self._topology.ingress, body)

    def large(self) -> Shot:
        """Make a body that costs most to read, or that is larger than any may be."""
        number, conversation = next(self._numbers), self._conversation()
        match self._random.randrange(4):
            case 0:
                body = b"%d" % number + b" " * MAX_INPUT_BYTES
            case 1:
                body = b"[" * _LARGE + b"%d" % number
            case 2:
                command = {"kind": "set_data", "remove": [1] * (_LARGE // 2)}
                body = as_json(self._enveloped(number, command), self._random)
            case _:
                values = {f"{key:06}": 1 for key in range(_LARGE // 12)}
                body = as_json(self._enveloped(number, {"kind": "set_data", "values": values}), self._random)
        return self._to_partition("large", number, conversation, body)

    def _conversation(self) -> ConversationId:
        return self._random.choice(self._conversations)

    def _text(self, number: int, conversation: ConversationId | None = None) -> dict[str, Any]:
        address = {"platform": "custom", "chat": "attack", "user": f"u{self._random.randrange(_CONVERSATIONS)}"}
        content = {"kind": "text", "text": f"hostile {number}"}
        data = {"kind": "message", "address": address, "message_id": str(number), "content": content}
        return self._enveloped(number, data | {"sent_at": "2026-01-01T00:00:00Z"}, conversation)

    @staticmethod
    def _enveloped(number: int, data: dict[str, Any], conversation: ConversationId | None = None) -> dict[str, Any]:
        made = {"specversion": "1.0", "type": "agentbus.input.v1", "id": f"hostile-{number}", "data": data}
        return made | {"source": f"/attack/{number}"} | ({"partitionkey": conversation} if conversation else {})

    def _to_partition(
        self, kind: str, number: int, conversation: ConversationId, body: bytes, **properties: bytes
    ) -> Shot:
        key = self._topology.routing_key(self._topology.partition_of(conversation))
        return self._shot(kind, number, self._topology.inbound, key, body, **properties)

    def _shot(self, kind: str, number: int, exchange: str, key: str, body: bytes, **properties: bytes) -> Shot:
        message_id = b"hostile-%d" % number + (b"\xff\xfe" if self._random.random() < 0.1 else b"")
        shot = Shot(
            kind=kind,
            exchange=exchange,
            routing_key=key.encode(),
            body=body,
            properties={"message_id": short(message_id), **properties},
            message_id=message_id.decode("utf-8", "backslashreplace"),
        )
        if len(body) < _LARGE and self._random.random() < 0.2:
            self._earlier = [*self._earlier[-_REMEMBERED:], shot]
        return shot


_WEIGHTS: Final[Mapping[Callable[[Hostile], Shot], float]] = {
    Hostile.junk: 24,
    Hostile.mutant: 20,
    Hostile.oddity: 15,
    Hostile.forged: 8,
    Hostile.misled: 8,
    Hostile.unanswered: 6,
    Hostile.repeated: 6,
    Hostile.flood: 5,
    Hostile.forged_record: 3,
    Hostile.expired: 3,
    Hostile.ingress: 2,
    Hostile.large: 0.1,
}
"""Of every shot, how often it comes."""
