"""Channels that people come to themselves, on a gateway: what it lends to each, and what wakes those who wait."""

from collections.abc import Iterable
from functools import partial

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.clock import Clock
from agentbus.storage.port import Store
from agentbus.workers.adapters.factory import Connected
from agentbus.workers.adapters.port import Hosting
from agentbus.workers.bus.port import Bus
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.listening import Listening


def host_all(
    gateway: Gateway, accounts: Iterable[Connected], *, bus: Bus, store: Store, clock: Clock, scope: Scope
) -> list[Listening]:
    """Let a gateway host the channels of these accounts that are hosted; return what has to run beside it."""
    by_channel: dict[str, list[Connected]] = {}
    for one in accounts:
        by_channel.setdefault(one.channel.name, []).append(one)
    heard: list[Listening] = []
    for name, of_it in by_channel.items():
        make = of_it[0].channel.hosted
        if make is None:
            continue
        listening = Listening(bus, name, scope)
        hosting = Hosting(
            receive=partial(gateway.receive, name),
            take=partial(gateway.take, name),
            heard=listening.to,
            conversation_of=partial(conversation_id_for, scope=scope),
            store=store,
            clock=clock,
        )
        gateway.host(name, make({one.name: one.account for one in of_it}, hosting))
        heard.append(listening)
    return heard
