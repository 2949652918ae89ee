"""Registering a handler: a pattern that nothing matches and a handler that is not async are refused there."""

from functools import partial
from unittest.mock import AsyncMock

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus


@pytest.fixture
def client() -> AgentBus:
    return AgentBus(MemoryBus(Topology(partitions=1)))


async def handler(_: EventEnvelope) -> None:
    """Do nothing."""


class Bot:
    """Handlers of other shapes."""

    async def handle(self, _: EventEnvelope) -> None:
        """Do nothing."""

    async def __call__(self, _: EventEnvelope) -> None:
        """Do nothing."""

    def forgot(self, _: EventEnvelope) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    "pattern",
    [
        "session.#",
        "#",
        "*.*.*",
        "session.message.*",
        "session.*.telegram",
        "session.copied.none",
        "session.reply.teams",
        "#.message.#",
    ],
)
def test_what_some_event_matches_is_taken(client: AgentBus, pattern: str) -> None:
    client.on(pattern)(handler)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("session.mesage.*", "session.message.*"),
        ("sesion.message.*", "session.message.*"),
        ("session.message", "session.message.*"),
        ("message.*", "session.message.*"),
        ("session.message.Telegram", "session.message.telegram"),
        ("session.Reply.web", "session.reply.web"),
        ("session.message.telegram.bot", "session.message.*"),
        ("", "session.#"),
        ("everything", "session.#"),
    ],
)
def test_what_no_event_matches_is_refused_with_what_may_be_meant(client: AgentBus, pattern: str, meant: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        client.on("session.#", pattern)
    assert str(refused.value).startswith(f"no event is ever announced on {pattern!r}: did you mean {meant!r}?")


def test_topics_have_to_be_named(client: AgentBus) -> None:
    with pytest.raises(ConfigurationError, match="name the topics"):
        client.on()
    with pytest.raises(ConfigurationError, match="name the topics"):
        client.on(handler)  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [handler, Bot(), Bot().handle, partial(handler), AsyncMock()])
def test_async_handlers_of_any_shape_are_taken(client: AgentBus, right: object) -> None:
    client.on("session.#")(right)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("wrong", "name"), [(Bot().forgot, "Bot.forgot"), (print, "print"), (partial(print), "print"), (object(), "object")]
)
def test_a_handler_that_is_not_async_is_refused(client: AgentBus, wrong: object, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"the handler {name} is not async: write `async def"):
        client.on("session.#")(wrong)  # type: ignore[type-var]


@pytest.mark.parametrize("concurrency", [0, -1, 1001])
def test_how_many_are_handled_at_a_time_is_bounded(client: AgentBus, concurrency: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 1000"):
        client.on("session.#", concurrency=concurrency)(handler)
