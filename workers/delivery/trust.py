"""Who sent what: chat messages may come from anybody, everything else from the users that the installation lists."""

from collections.abc import Collection
from typing import Final

from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import UntrustedSender
from agentbus.contracts.messages import InboundMessage
from agentbus.workers.bus.port import Delivery, Headers

SENDERS: Final = "x-agentbus-senders"
"""The broker users through whose hands a message came before its publisher passed it on, a line each.

Whoever sets it takes trust away from their own message, and can't add any: all of them must be trusted.
"""

_UNKNOWN: Final = ""
_LONGEST: Final = 1000
"""Characters. It is copied from hand to hand, and must not outgrow a frame."""


def senders_of(delivery: Delivery) -> frozenset[str]:
    """Return all through whose hands a delivery came; the empty name for one that the broker does not know."""
    before = delivery.headers.get(SENDERS)
    names = () if before is None else str(before).split("\n")
    return frozenset((*names, delivery.user or _UNKNOWN))


def passed_on(delivery: Delivery) -> Headers:
    """Return the headers that keep a delivery's senders when it is passed on by somebody else."""
    names = "\n".join(sorted(senders_of(delivery)))
    return {SENDERS: names if len(names) <= _LONGEST else _UNKNOWN}


def are_trusted(delivery: Delivery, users: Collection[str]) -> bool:
    """Whether all who sent a delivery are among `users`; none listed: everybody is."""
    return not users or senders_of(delivery) <= frozenset(users)


def check_sender(envelope: InputEnvelope, delivery: Delivery, users: Collection[str]) -> None:
    """Raise UntrustedSender for a command or query by somebody who is not among `users`."""
    if isinstance(envelope.data, InboundMessage) or are_trusted(delivery, users):
        return
    names = ", ".join(repr(name) if name else "somebody unknown" for name in sorted(senders_of(delivery)))
    raise UntrustedSender(
        f"{envelope.data.kind} came from {names}: AGENTBUS_COMMAND_USERS lists the broker users that may send more "
        "than chat messages"
    )
