"""Log lines: an action and its context, to standard error, for people or for machines."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from agentbus.logs import configure_logs
from agentbus.settings import LogFormat, LogSettings
from contracts.telemetry import Action

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


def test_an_exception_comes_with_its_traceback(capsys: Captured) -> None:
    configure()
    try:
        raise ZeroDivisionError("poisoned")
    except ZeroDivisionError:
        structlog.get_logger().exception(Action.ROUND_FAILED)
    (line,) = lines(capsys)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: poisoned")


def test_bound_context_is_on_every_line(capsys: Captured) -> None:
    configure()
    structlog.contextvars.bind_contextvars(worker="w1")
    structlog.get_logger().info(Action.WORKER_STARTED)
    assert lines(capsys)[0]["worker"] == "w1"


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
