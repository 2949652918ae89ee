"""Who is at work, of every kind."""

from agentbus.contracts.members import Member, WorkerKind
from agentbus.settings import Settings
from agentbus.storage.port import Store
from agentbus.workers.domain.assignment import ranges

__all__ = ["live_workers", "ranges"]


async def live_workers(store: Store, settings: Settings) -> dict[WorkerKind, list[Member]]:
    """Return the live workers of each kind; an empty list for a kind of which nobody is there. Raises StoreError."""
    prefix, ttl = settings.bus.prefix, settings.session.worker_ttl
    return {kind: await store.members.live(kind.group(prefix), ttl=ttl) for kind in WorkerKind}
