"""Log lines: an action and its context, to standard error, for people or for machines."""

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import BaseModel

import agentbus.workers.delivery.parking
import agentbus.workers.reactive.handler
from agentbus.bounds import FewRepeats
from agentbus.contracts.address import Address
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.messages import TextContent
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.logs import configure_library_logs, configure_logs
from agentbus.settings import LogFormat, LogSettings
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.failures import Failure
from agentbus.workers.delivery.parking import Failed, park, park_all
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.reactive.handler import EventHandler, hand_over
from tests.harness.builders import a_conversation, appended
from tests.harness.deliveries import Handed

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Undo what is configured: it holds for the whole process."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def configure(**settings: Any) -> None:
    configure_logs(LogSettings(**{"log_level": "info", "log_format": LogFormat.JSON, **settings}))


def lines(capsys: Captured) -> list[dict[str, Any]]:
    printed = capsys.readouterr()
    assert printed.out == ""
    return [json.loads(line) for line in printed.err.splitlines()]


def test_a_line_has_its_action_context_level_and_time(capsys: Captured) -> None:
    configure()
    structlog.get_logger().warning(Action.INPUT_PARKED, code="undecodable", attempts=2)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "input_parked", "level": "warning", "code": "undecodable", "attempts": 2}


def test_a_logger_made_before_is_configured_too(capsys: Captured) -> None:
    logger = structlog.get_logger("early")
    configure(log_level="debug")
    logger.debug(Action.STORE_WAITING)
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_left_out(level: str, count: int, capsys: Captured) -> None:
    configure(log_level=level)
    logger = structlog.get_logger()
    for write in (logger.debug, logger.info, logger.warning, logger.error):
        write(Action.STORE_WAITING)
    assert len(lines(capsys)) == count


def test_an_exception_is_told_by_its_kind_and_place_alone(capsys: Captured) -> None:
    configure()
    try:
        raise ZeroDivisionError("poisoned")
    except ZeroDivisionError:
        structlog.get_logger().exception(Action.ROUND_FAILED)
    (line,) = lines(capsys)
    assert (line["level"], line["error"]) == ("error", "ZeroDivisionError")
    assert re.fullmatch(r".*test_logs\.py:\d+ in test_an_exception_is_told_by_its_kind_and_place_alone", line["at"])
    assert "poisoned" not in str(line)


def test_bound_context_is_on_every_line(capsys: Captured) -> None:
    configure()
    structlog.contextvars.bind_contextvars(worker="w1")
    structlog.get_logger().info(Action.WORKER_STARTED)
    assert lines(capsys)[0]["worker"] == "w1"


def test_a_line_says_which_trace_it_belongs_to(capsys: Captured) -> None:
    configure()
    event = EventEnvelope.of(appended(a_conversation("ada"), 1, SAID), f"00-{'a' * 32}-{'b' * 16}-01")
    with traces().handling("agentbus.events", event):
        structlog.get_logger().info(Action.CLAIM_HEARD)
    structlog.get_logger().info(Action.CLAIM_HEARD)
    within, outside = lines(capsys)
    assert (within["trace_id"], within["span_id"]) == ("a" * 32, "b" * 16)
    assert not {"trace_id", "span_id"} & outside.keys()


async def test_what_is_parked_is_logged_with_the_trace_that_it_came_with(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agentbus.workers.delivery.parking, "sparingly", lambda *_: {})
    configure()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        failed = Failed(Handed(b"{}"), Failure(Reject("no")), cause=f"00-{'a' * 32}-{'b' * 16}-01")
        await park_all(bus, [failed, Failed(Handed(b"{}"), Failure(Reject("no")))])
    of_a_trace, of_none = lines(capsys)
    assert of_a_trace["trace_id"] == "a" * 32
    assert "trace_id" not in of_none


def test_for_people_there_are_no_colours_in_a_file(capsys: Captured) -> None:
    configure(log_format=LogFormat.CONSOLE)
    structlog.get_logger().info(Action.WORKER_STARTED, partitions=4)
    printed = capsys.readouterr().err
    assert "worker_started" in printed
    assert "partitions=4" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(("level", "told"), [("debug", ["warned", "failed"]), ("error", ["failed"])])
def test_of_libraries_only_warnings_are_told(
    level: str, told: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as a program starts
    configure(log_level=level)
    library = logging.getLogger("somebody.else")
    library.info("chatted")
    library.warning("warned")
    library.error("failed")
    assert [line.rpartition(":")[2] for line in capsys.readouterr().err.splitlines()] == told


class Booking(BaseModel):
    """What a user's handler makes of a message."""

    seats: int


KEY = "sk-live-0123456789"
SAID = "my card is 4000 1234"


async def leaky(event: EventEnvelope) -> None:
    """Fail with a secret at hand, and with what was said in the error."""
    api_key = KEY
    assert isinstance(event.data, MessageAppended)
    assert isinstance(event.data.message.content, TextContent)
    text = event.data.message.content.text
    raise RuntimeError(f"{api_key} could not pay with: {text}")


async def unreadable(event: EventEnvelope) -> None:
    """Fail as pydantic does: its errors quote what was put in."""
    assert isinstance(event.data, MessageAppended)
    assert isinstance(event.data.message.content, TextContent)
    Booking.model_validate({"seats": event.data.message.content.text, "api_key": KEY})


async def misread(event: EventEnvelope) -> None:
    """Fail with one of our own contracts."""
    assert isinstance(event.data, MessageAppended)
    assert isinstance(event.data.message.content, TextContent)
    Address.model_validate({"platform": event.data.message.content.text, "api_key": KEY})


def machine_lines() -> None:
    configure(log_format=LogFormat.JSON)


def people_lines() -> None:
    configure(log_format=LogFormat.CONSOLE)


@pytest.mark.parametrize("failing", [leaky, unreadable, misread])
@pytest.mark.parametrize("configured", [machine_lines, people_lines, configure_library_logs])
async def test_a_failing_handler_is_one_line_with_its_place_and_without_texts_and_secrets(
    configured: Callable[[], None], failing: EventHandler, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as a program starts
    monkeypatch.setattr(
        agentbus.workers.reactive.handler,
        "FAILING",
        replace(agentbus.workers.reactive.handler.FAILING, longest_wait=0),
    )
    configured()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        event = appended(a_conversation("ada"), 1, SAID)
        delivery = Handed(EventEnvelope.of(event).to_bytes())
        await hand_over(delivery, failing, partial(park, bus), where="events")
    printed = "".join(capsys.readouterr())
    failed, parked = printed.splitlines()
    assert Action.HANDLER_FAILED in failed
    assert re.search(rf"test_logs\.py:\d+ in {failing.__name__}\b", failed)
    assert Action.INPUT_PARKED in parked
    assert "api_key" not in printed
    assert KEY not in printed
    assert SAID not in printed


def test_a_long_value_is_cut_and_passwords_in_urls_are_masked(capsys: Captured) -> None:
    configure()
    error = "no amqp://ann:p/w@host/ nor mongodb://bob:pw@host"
    structlog.get_logger().warning(Action.STORE_WAITING, error=error, long="x" * 5000, many=list(range(5000)))
    (line,) = lines(capsys)
    assert line["error"] == "no amqp://ann:***@host/ nor mongodb://bob:***@host"
    assert line["long"] == "x" * 2000 + "... (3000 characters more)"
    assert len(line["many"]) < 2100


def test_a_library_that_repeats_itself_is_heard_once_a_minute() -> None:
    now = 0.0
    few = FewRepeats(lambda: now)

    def said(message: str, *args: object) -> str | None:
        record = logging.LogRecord("asyncio", logging.ERROR, "file", 1, message, args, None)
        return record.getMessage() if few.filter(record) else None

    shown = [said("can't accept\nsocket: %s", number) for number in range(1000)]
    assert shown[0] == "can't accept\nsocket: 0"
    assert not any(shown[1:])
    assert said("something else: amqp://a:b@c") == "something else: amqp://a:***@c"
    now = 61.0
    assert said("can't accept\nsocket: %s", 7) == "can't accept\nsocket: 7 (999 times more in between)"


@pytest.mark.parametrize("number", [1, 2])
def test_a_test_hears_what_one_before_it_has_heard_too(number: int, caplog: pytest.LogCaptureFixture) -> None:
    """See tests/conftest.py: a line that is repeated is held back by what is configured here, for the whole process."""
    configure()
    logging.getLogger("some.library").warning("the same words")
    assert "the same words" in caplog.text, number
