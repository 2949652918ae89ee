"""The ways that are compared: what each is, and where what it needs comes from."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to append, as a process of its own."""

    name: str
    what: str
    store: str
    """The kind of store that it appends to."""
    theirs: str | None = None
    """Which of `tests.benchmarks.library.others` it is; None: it is ours."""
    distributed: bool = False
    """Whether it is ours over a broker, with a session worker in another process."""


CONTENDERS: Final = (
    Contender(name="memory", what="AgentBus, embedded", store="memory"),
    Contender(name="sqlite", what="AgentBus, embedded", store="sqlite"),
    Contender(name="files", what="AgentBus, embedded", store="files"),
    Contender(name="mongodb", what="AgentBus, embedded", store="mongodb"),
    Contender(name="redis", what="AgentBus, embedded", store="redis"),
    Contender(name="mongodb_workers", what="AgentBus, over RabbitMQ", store="mongodb", distributed=True),
    Contender(name="redis_workers", what="AgentBus, over RabbitMQ", store="redis", distributed=True),
    Contender(name="agents_sqlite", what="Agents SDK SQLiteSession", store="sqlite", theirs="agents_sqlite"),
    Contender(name="agents_redis", what="Agents SDK RedisSession", store="redis", theirs="agents_redis"),
    Contender(name="langgraph_sqlite", what="LangGraph AsyncSqliteSaver", store="sqlite", theirs="langgraph_sqlite"),
    Contender(name="langgraph_redis", what="LangGraph AsyncRedisSaver", store="redis", theirs="langgraph_redis"),
    Contender(name="push", what="a bare $push, PyMongo", store="mongodb", theirs="push"),
)

RATIOS: Final = {
    "vs_agents_sqlite": ("sqlite", "agents_sqlite"),
    "vs_agents_redis": ("redis", "agents_redis"),
    "vs_push": ("mongodb", "push"),
    "vs_langgraph_sqlite": ("sqlite", "langgraph_sqlite"),
    "vs_langgraph_redis": ("redis", "langgraph_redis"),
}
"""What is compared with what, as so many times as long, by the name of the figure."""
