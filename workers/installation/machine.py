"""The installation's state machine, as its store keeps it: the same for all who decide."""

import asyncio
from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.damage import SET_ANEW, read_as
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.domain.checks.states import DEFAULT

KEY: Final = "machine"

INTERVAL = 1.0
"""Seconds after which a worker that decides something looks again: a change is in force everywhere by then."""

_log = Logger(__name__)


async def read_machine(store: Store) -> StateMachine | None:
    """Return the machine that the installation has set; None: the default holds. Raises StoreDamaged, StoreError."""
    record = await store.records.get(RecordKind.INSTALLATION, KEY)
    return read_as("the state machine", StateMachine.model_validate, record.data, SET_ANEW) if record else None


async def state_machine(store: Store) -> StateMachine:
    """Return the machine that sessions go by. Raises StoreDamaged for one that can't be read, StoreError."""
    return await read_machine(store) or DEFAULT


async def set_machine(store: Store, machine: StateMachine | None, clock: Clock) -> None:
    """Keep a machine in place of the one that there is, None: go back to the default; return when all decide by it.

    A session in a state that it does not have is from then on in that of its status. Raises StoreError.
    """
    if machine is None:
        await store.records.delete(RecordKind.INSTALLATION, KEY)
    else:
        data = machine.model_dump(mode="json", exclude_defaults=True)
        await store.records.put(Record(kind=RecordKind.INSTALLATION, key=KEY, created_at=clock.now(), data=data))
    await asyncio.sleep(INTERVAL)


class MachineBook:
    """The machine that a worker decides by: the one that was there when it last looked.

    A conversation has one owner, who decides by one machine at a time; whoever takes it over looks anew.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._machine = DEFAULT
        self._looked: float | None = None

    async def look(self, *, anew: bool = False) -> StateMachine:
        """Return the machine, read again if that is `INTERVAL` seconds ago, or `anew`. Raises StoreError.

        One that can't be read leaves that in force which was; StoreDamaged if there was none: nobody decides then.
        """
        now = monotonic()
        if anew or self._looked is None or now - self._looked >= INTERVAL:
            try:
                self._machine = await read_machine(self._store) or DEFAULT
            except StoreDamaged as error:
                if self._looked is None:
                    raise
                _log.error(Action.STATE_MACHINE_UNREADABLE, error=str(error))
            self._looked = now
        return self._machine
