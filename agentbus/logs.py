"""Structured logs: every line has an action (`event`) and its context; a failure is one line, without what was said."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from agentbus.bounds import FewRepeats, bounded
from agentbus.contracts.secrets import without_secrets
from agentbus.workers.delivery.trace_contexts import trace_of, traces
from agentbus.workers.faults import told

if TYPE_CHECKING:
    from agentbus.settings import LogSettings


def configure_logs(settings: "LogSettings") -> None:
    """Send log lines to standard error, in the format and from the level set."""
    import structlog  # noqa: PLC0415 - slow to import, and a library may never log a line

    from agentbus.settings import LogFormat  # noqa: PLC0415 - whoever has such settings has imported it

    level = logging.getLevelName(settings.log_level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _traced,
            _without_secrets,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _in_a_line,
            _bounded,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, FewRepeats) for one in handler.filters):
            handler.addFilter(FewRepeats())
    _quieten_drivers()


def _quieten_drivers() -> None:
    """Keep the drivers from logging each failed and each lost connection: we say it in lines of our own."""
    for name in ("aiormq.connection", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _traced(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Say which trace a line belongs to, if what it tells of came with one."""
    return {**trace_of(traces().current()), **line}


def _without_secrets(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return without_secrets(line)


def _in_a_line(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Tell an exception by its kind and place: a traceback shows what was said, and rich ones every local."""
    given = line.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    return {**told(error), **line} if isinstance(error, BaseException) else line


def _bounded(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return bounded(line)


def configure_library_logs() -> None:
    """Hand log lines to the standard library's `logging`, unless the program has set up structlog itself.

    A library prints nothing of its own: under its loggers' names (`agentbus.workers.session.worker`, ...) a program
    chooses what is shown, by default warnings and errors.
    """
    import structlog  # noqa: PLC0415 - as above

    _quieten_drivers()
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _traced,
            _without_secrets,
            structlog.stdlib.add_log_level,
            _in_a_line,
            _bounded,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
