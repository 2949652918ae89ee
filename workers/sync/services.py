"""Everything that syncing consists of, put together on a store and a bus."""

from collections.abc import Collection
from dataclasses import dataclass

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.conflicts import Conflicts
from agentbus.workers.sync.demand import SyncOnDemand
from agentbus.workers.sync.handler import SyncHandler
from agentbus.workers.sync.people.claims import Claims
from agentbus.workers.sync.people.identities import Identities
from agentbus.workers.sync.people.secret import Secret
from agentbus.workers.sync.people.suggestions import Suggestions
from agentbus.workers.sync.policies import Policies
from agentbus.workers.sync.tasks import SyncTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncServices:
    """The parts of syncing: those that people call, and those that react to events and time."""

    policies: Policies
    identities: Identities
    claims: Claims
    suggestions: Suggestions
    conflicts: Conflicts
    on_demand: SyncOnDemand
    tasks: SyncTasks
    handler: SyncHandler


def make_sync_services(
    store: Store,
    bus: Bus,
    commands: Inputs,
    *,
    clock: Clock | None = None,
    claim_secret: str | None = None,
    secret_keys: Collection[str] = SECRET_KEYS,
) -> SyncServices:
    """Return the parts of syncing; `commands` go to the sessions' owners."""
    clock = clock or SystemClock()
    policies = Policies(store, clock)
    identities = Identities(store, commands, clock)
    secret = Secret(store, clock, claim_secret)
    claims = Claims(store, commands, identities, secret, clock)
    suggestions = Suggestions(store, identities, secret, clock)
    tasks = SyncTasks(store, commands, policies, bus.topology, secret_keys=secret_keys)
    handler = SyncHandler(
        store,
        commands,
        policies,
        tasks,
        identities=identities,
        claims=claims,
        suggestions=suggestions,
        secret_keys=secret_keys,
    )
    return SyncServices(
        policies=policies,
        identities=identities,
        claims=claims,
        suggestions=suggestions,
        conflicts=Conflicts(store, commands),
        on_demand=SyncOnDemand(store, commands, policies, tasks),
        tasks=tasks,
        handler=handler,
    )
