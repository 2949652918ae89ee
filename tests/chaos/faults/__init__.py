"""All faults."""

from tests.chaos.faults.broker import BROKER
from tests.chaos.faults.cluster import CLUSTER
from tests.chaos.faults.crashes import CRASHES
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.freezes import FREEZES
from tests.chaos.faults.network import NETWORK
from tests.chaos.faults.poison import POISON
from tests.chaos.faults.scaling import SCALING
from tests.chaos.faults.store import STORE
from tests.chaos.faults.traffic import TRAFFIC

FAULTS: tuple[Fault, ...] = (
    *CRASHES,
    *FREEZES,
    *SCALING,
    *BROKER,
    *NETWORK,
    *STORE,
    *POISON,
    *TRAFFIC,
    *CLUSTER,
)

__all__ = ["FAULTS", "Fault", "fault_named"]


def fault_named(name: str) -> Fault:
    """Return a fault by its name. Raises KeyError."""
    return {fault.name: fault for fault in FAULTS}[name]
