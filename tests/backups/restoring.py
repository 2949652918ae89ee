"""`python -m tests.backups.restoring STORE PLACE BACKUP_ID [SESSIONS]`: restore a backup into an empty store; killed
(SIGKILL) once so many sessions were, if that is said."""

import asyncio
import json
import os
import signal
import sys

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.recovery import RestoreRun
from agentbus.contracts.topology import Topology
from agentbus.storage.backup import BackupReader, open_backups
from agentbus.storage.factory import open_store
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.recovery import Erasures, RecoveryOptions, Target, restore


async def main(url: str, place: str, backup_id: str, killed_after: int | None) -> None:
    """Restore; tell what came of it as JSON."""
    topology, restored = Topology(), 0
    async with open_store(url) as store, MemoryBus(topology) as bus:
        target = Target(store=store, commands=Inputs(bus), topology=topology, clock=SystemClock())
        backups = open_backups(place)
        reader = BackupReader(backups, await backups.manifest(backup_id))
        erasures = Erasures(await Receipts.load(store, None))
        async for step in restore(target, reader, RecoveryOptions(), erasures):
            if isinstance(step, RestoreRun):
                sys.stdout.write(json.dumps(step.outcomes) + "\n")
                return
            restored += 1
            if restored == killed_after:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _, store_url, backups_url, backup, *after = sys.argv
    asyncio.run(main(store_url, backups_url, backup, int(after[0]) if after else None))
