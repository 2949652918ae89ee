"""The state of an agent's components (its memory, its tools, its plan), kept from one run to the next.

```python
class Memory(StateModule):
    def __init__(self) -> None:
        self.turns = []
        self.register_state("turns")


async with open_states("file:///var/lib/agent") as states:
    manager = StateManager.for_session_id("ada").with_store(states).add_component(memory)
    await manager.load_if_exists()
    ...
    await manager.save_or_raise()
```
"""

from agentbus.contracts.errors import (
    SchemaViolation,
    StateError,
    StateMismatch,
    StateNotFound,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
)
from agentbus.contracts.history import Page
from agentbus.state.manager import StateManager
from agentbus.state.module import LoadReport, StateModule
from agentbus.state.store import StateInfo, StateStore, open_states

__all__ = [
    "StateModule",
    "StateManager",
    "LoadReport",
    # where states are kept
    "StateStore",
    "StateInfo",
    "Page",
    "open_states",
    # what is raised
    "StateError",
    "StateMismatch",
    "StateNotFound",
    "SchemaViolation",
    "StoreError",
    "StoreDamaged",
    "StoreUnavailable",
]
