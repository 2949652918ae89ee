"""Properties that RabbitMQ passes on and no library would write, as raw bytes by name."""

import struct
from collections.abc import Mapping
from random import Random
from typing import Final

from tests.harness.raw_amqp import short, table

_NESTED = b""
for _ in range(3000):
    _NESTED = short(b"a") + b"F" + table(_NESTED)

ODD: Final[Mapping[str, Mapping[str, bytes]]] = {
    "message id": {"message_id": short(b"\xff\xfe")},
    "reply to": {"reply_to": short(b"\xff\xfe")},
    "content type": {"content_type": short(b"\xff\xfe")},
    "correlation id": {"correlation_id": short(b"\xff\xfe")},
    "header name": {"headers": table(short(b"\xff\xfe") + b"V")},
    "header value": {"headers": table(short(b"a") + b"S" + table(b"\xff\xfe"))},
    "time": {"timestamp": struct.pack(">Q", 2**62)},
    "nested tables": {"headers": table(_NESTED)},
    "delivery count in words": {"headers": table(short(b"x-delivery-count") + b"S" + table(b"abc"))},
    "delivery count in millions": {"headers": table(short(b"x-delivery-count") + b"I" + struct.pack(">i", 2**30))},
    "priority": {"priority": b"\xff"},
    "very many fields": {"headers": table(b"\x00V" * 60_000)},
    "nothing": {},
}
"""Each goes through the broker and comes out at the other end."""

_KINDS: Final = b"tbBIilfdDSTFVxA"


def odd(random: Random) -> dict[str, bytes]:
    """Return odd properties: one of `ODD`, or some made up. None names a message id or a place for replies."""
    if random.random() < 0.5:
        chosen = dict(random.choice(list(ODD.values())))
        chosen.pop("message_id", None)
        return chosen
    made = {
        "content_type": short(_bytes(random, 60)),
        "correlation_id": short(_bytes(random, 255)),
        "message_type": short(_bytes(random, 255)),
        "app_id": short(_bytes(random, 255)),
        "timestamp": struct.pack(">Q", random.getrandbits(64)),
        "delivery_mode": bytes([random.choice((1, 2))]),  # the broker refuses others
        "headers": table(b"".join(_field(random) for _ in range(random.randint(0, 20)))),
    }
    return {name: value for name, value in made.items() if random.random() < 0.5}


def forged_headers(number: int) -> bytes:
    """Return the headers with which a worker parks, and those with which the broker dead-letters, as a lie."""
    ours = {
        b"x-agentbus-queue": b"amq.rabbitmq.reply-to",
        b"x-agentbus-conversation": b"a" * 26,
        b"x-agentbus-code": b"forged",
        b"x-agentbus-reason": b"forged %d" % number,
        b"x-agentbus-attempts": b"many",
        b"x-agentbus-position": b"-1",
    }
    return table(b"".join(short(name) + b"S" + table(value) for name, value in ours.items()))


def _field(random: Random) -> bytes:
    """Return a field that a broker can read: of a known type and whole, whatever is in it."""
    name = short(_bytes(random, 40))
    kind = bytes([random.choice(_KINDS)])
    match kind:
        case b"S" | b"x":
            value = table(_bytes(random, 100))
        case b"F" | b"A":
            value = table(b"")
        case b"t" | b"b" | b"B":
            value = _exactly(random, 1)
        case b"f":  # at one that is no finite number the broker closes its publisher's connection
            value = struct.pack(">f", random.uniform(-1e30, 1e30))
        case b"d":
            value = struct.pack(">d", random.uniform(-1e300, 1e300))
        case b"I" | b"i":
            value = _exactly(random, 4)
        case b"D":
            value = _exactly(random, 5)
        case b"V":
            value = b""
        case _:
            value = _exactly(random, 8)
    return name + kind + value


def _bytes(random: Random, most: int) -> bytes:
    return _exactly(random, random.randint(1, most))


def _exactly(random: Random, count: int) -> bytes:
    return bytes(random.randrange(256) for _ in range(count))
