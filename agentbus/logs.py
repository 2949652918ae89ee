"""Structured logs: every line has an action (`event`) and its context."""

import logging
import sys
from typing import Any

import structlog

from agentbus.settings import LogFormat, LogSettings


def configure_logs(settings: LogSettings) -> None:
    """Send log lines to standard error, in the format and from the level set."""
    level = logging.getLevelName(settings.log_level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)
    # aiormq logs each failed and each lost connection with a traceback; we say it in a line of our own.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
