"""The faults of the embedded mode."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.chaos.embedded.arena import EmbeddedArena, EmbeddedLayout, Storage
from tests.chaos.embedded.calls import Terms
from tests.chaos.embedded.disks import database_locked, filled, folders_locked
from tests.chaos.embedded.programs import Gone, Program
from tests.chaos.inside.failpoints import Failpoint
from tests.chaos.system.arena import Injection
from tests.harness.failpoints import arm

_LOCKERS: Final = 20
"""Callers of locks at a time, which go to the store without a worker between."""

_GIVEN_UP: Final = frozenset({"reply_timeout", "store_unavailable"})
"""How calls end that can't be carried out in their time."""

_FROZEN: Final = 7.0
"""Seconds: SQLite waits 5 for a lock."""

Inject = Callable[[EmbeddedArena], Awaitable[Injection]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedFault:
    """A fault of the embedded mode, and the arena in which it is brought about again and again."""

    name: str
    inject: Inject
    layout: EmbeddedLayout
    repeats: int = 10
    quick: bool = False
    """Whether a quick run has it, once."""
    counted_from: str = "the fault"
    expects: frozenset[str] = frozenset()
    """Errors of which calls have to end: a fault that nobody notices shows nothing."""
    says: str | None = None
    """What the log of the programs has to say."""


async def die_at(point: Failpoint, arena: EmbeddedArena) -> Injection:
    """Let a program kill itself the next few times it comes by `point`; somebody starts another one."""
    victim = arena.random.choice(arena.programs.running)
    arm(arena.programs.folder, victim.name, point, hit=arena.random.randint(1, 5))
    await victim.gone()
    at = time.monotonic()
    await arena.programs.start()
    return Injection(at)


async def kill(arena: EmbeddedArena) -> Injection:
    """SIGKILL a program at whatever it does; somebody starts another one."""
    await asyncio.sleep(arena.random.uniform(0.2, 1.0))
    await arena.random.choice(arena.programs.running).kill()
    at = time.monotonic()
    await arena.programs.start()
    return Injection(at)


async def freeze(arena: EmbeddedArena) -> Injection:
    """Stop a program for longer than another one waits for a lock: it may hold one, and wakes up with old states."""
    await asyncio.sleep(arena.random.uniform(0.2, 1.0))
    victim = arena.random.choice(arena.programs.running)
    victim.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(_FROZEN)
    finally:
        victim.send(signal.SIGCONT)
    return Injection(time.monotonic())


async def go_on(_: EmbeddedArena) -> Injection:
    """Do nothing: the load's own calls are the fault."""
    await asyncio.sleep(3.0)
    return Injection(time.monotonic())


async def fill_up(seconds: float, arena: EmbeddedArena) -> Injection:
    """Leave no room on the disk for some seconds."""
    with filled(arena.disk):
        await asyncio.sleep(seconds)
    return Injection(time.monotonic())


async def lock(seconds: float, arena: EmbeddedArena) -> Injection:
    """Lock what is kept, from outside, for some seconds; meanwhile many callers go to the store itself."""
    locking = database_locked(arena.database) if _is_sqlite(arena) else folders_locked(arena.folder)
    return await _locked(locking, seconds, arena)


async def stop_while_locked(seconds: float, arena: EmbeddedArena) -> Injection:
    """Tell a program to end while what is kept is locked, with calls under way; begin another one meanwhile."""
    locking = database_locked(arena.database) if _is_sqlite(arena) else folders_locked(arena.folder)
    async with locking:
        await asyncio.sleep(seconds)
        await arena.random.choice(arena.programs.running).stop()
        starting = asyncio.create_task(arena.programs.start())
        await asyncio.sleep(seconds)
    at = time.monotonic()
    await starting
    return Injection(at)


async def _locked(locking: AbstractAsyncContextManager[None], seconds: float, arena: EmbeddedArena) -> Injection:
    async with locking:
        callers = [asyncio.create_task(_take_a_lock(program, arena)) for program in _callers(arena)]
        await asyncio.sleep(seconds)
    at = time.monotonic()
    await asyncio.gather(*callers)
    return Injection(at)


async def _take_a_lock(program: Program, arena: EmbeddedArena) -> None:
    try:
        await arena.calls.lock(program, arena.random.choice(list(arena.sessions)))
    except Gone:
        return  # what is not promised to a program that ended


def _callers(arena: EmbeddedArena) -> list[Program]:
    return [arena.random.choice(arena.programs.running) for _ in range(_LOCKERS)]


def _is_sqlite(arena: EmbeddedArena) -> bool:
    return arena.layout.storage is Storage.SQLITE


def _on(storage: Storage) -> tuple[EmbeddedFault, ...]:
    """Return the faults of a storage that outlives its programs."""
    mortal = EmbeddedLayout(storage=storage, announced=False, tracked=True)
    pair = EmbeddedLayout(storage=storage, programs=2, announced=False, tracked=True)
    waits = EmbeddedLayout(storage=storage, terms=Terms(published=0.3, errors=frozenset({"lock_timeout"})))
    hurried = Terms(call_timeout=4.0, published=0.3, errors=_GIVEN_UP | {"lock_timeout"})
    gives_up = EmbeddedLayout(storage=storage, terms=Terms(published=0.3, errors=_GIVEN_UP | {"lock_timeout"}))
    kills = (
        EmbeddedFault(
            name=f"{storage}_kill_{point}",
            inject=partial(die_at, point),
            layout=mortal,
            quick=point is Failpoint.AFTER_APPEND,
        )
        for point in Failpoint
    )
    return (
        *kills,
        EmbeddedFault(name=f"{storage}_two_programs", inject=kill, layout=pair, quick=True),
        EmbeddedFault(
            name=f"{storage}_one_of_two_frozen", inject=freeze, layout=pair, counted_from="the end of the freeze"
        ),
        EmbeddedFault(
            name=f"{storage}_full_disk",
            inject=partial(fill_up, 4.0),
            layout=EmbeddedLayout(storage=storage, terms=Terms(published=0.3), small_disk=True),
            quick=True,
            counted_from="there being room again",
            says="outage_began",
        ),
        EmbeddedFault(
            name=f"{storage}_full_disk_for_long",
            inject=partial(fill_up, 12.0),
            layout=EmbeddedLayout(storage=storage, terms=hurried, small_disk=True),
            repeats=3,
            counted_from="there being room again",
            expects=frozenset({"reply_timeout"}),
            says="outage_began",
        ),
        EmbeddedFault(
            name=f"{storage}_locked_3s",
            inject=partial(lock, 3.0),
            layout=waits,
            quick=True,
            counted_from="the end of the lock",
        ),
        EmbeddedFault(
            name=f"{storage}_stopped_while_locked",
            inject=partial(stop_while_locked, 3.0),
            layout=mortal,
            quick=True,
            counted_from="the end of the lock",
        ),
        EmbeddedFault(
            name=f"{storage}_locked_60s",
            inject=partial(lock, 60.0),
            layout=gives_up,
            repeats=2,
            quick=storage is Storage.SQLITE,
            counted_from="the end of the lock",
            expects=_GIVEN_UP,
            says="outage_began",
        ),
    )


def _cancelled(storage: Storage) -> EmbeddedFault:
    terms = Terms(cancelled=0.4, published=0.2)
    layout = EmbeddedLayout(storage=storage, terms=terms)
    return EmbeddedFault(name=f"{storage}_cancelled_calls", inject=go_on, layout=layout, quick=True)


EMBEDDED_FAULTS: Final = (*map(_cancelled, Storage), *_on(Storage.SQLITE), *_on(Storage.FILES))


def embedded_fault_named(name: str) -> EmbeddedFault:
    """Return a fault by its name. Raises KeyError."""
    return {fault.name: fault for fault in EMBEDDED_FAULTS}[name]
