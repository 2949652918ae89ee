"""The network between one worker and broker or store fails; the other workers see nothing of it."""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from tests.chaos.faults.broker import RECONNECTING
from tests.chaos.faults.fault import Fault, Inject
from tests.chaos.system.arena import HEARTBEAT, Arena, Injection, Layout
from tests.chaos.system.proxy import Proxy

_DELAY = 0.25
"""Seconds for each direction: a round trip takes 500 ms more."""

_SECONDS = 4.0
_BROKER, _STORE = 0, 1


async def disturb(side: int, seconds: float, begin: Callable[[Proxy], None], arena: Arena) -> Injection:
    """Disturb one worker's connections to one side for some seconds, then mend them."""
    victim = arena.random.choice([worker for worker in arena.fleet.running if worker.name in arena.proxies])
    partitions = arena.sampler.owned_by(victim.name)
    proxy = arena.proxies[victim.name][side]
    at = time.monotonic()
    begin(proxy)
    await asyncio.sleep(seconds)
    if proxy.deaf:
        proxy.cut()  # a stream that has lost bytes can't go on
    proxy.deaf, proxy.delay = False, 0.0
    proxy.thaw()
    arena.expect_zombie(victim, at, time.monotonic() + RECONNECTING)
    return Injection(at, partitions)


def delay(proxy: Proxy) -> None:
    """Make everything late."""
    proxy.delay = _DELAY


def deafen(proxy: Proxy) -> None:
    """Lose every answer: confirms and deliveries, or acknowledged writes."""
    proxy.deaf = True


def _fault(name: str, side: int, seconds: float, begin: Callable[[Proxy], None], *, quick: bool = False) -> Fault:
    inject: Inject = partial(disturb, side, seconds, begin)
    return Fault(name=name, inject=inject, layout=Layout(proxied=True), quick=quick)


NETWORK = (
    _fault("broker_cut", _BROKER, 0.0, Proxy.cut),
    _fault("broker_half_open", _BROKER, 3.0 * HEARTBEAT, Proxy.freeze),
    _fault("broker_latency_500ms", _BROKER, _SECONDS, delay),
    _fault("broker_dropped_confirms", _BROKER, _SECONDS, deafen),
    _fault("store_cut", _STORE, 0.0, Proxy.cut, quick=True),
    _fault("store_half_open", _STORE, _SECONDS, Proxy.freeze),
    _fault("store_latency_500ms", _STORE, _SECONDS, delay),
    _fault("store_dropped_answers", _STORE, _SECONDS, deafen),
)
