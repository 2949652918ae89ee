"""Loggers that cost nothing until the first line: structlog, and rich with it, takes a tenth of a second to import."""

from typing import Any


class Logger:
    """A structlog logger of a name. A line has an action, one of `agentbus.contracts.telemetry`, and its context."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, action: str, /, **context: object) -> None:
        """Log what helps while developing."""
        self._line("debug", action, context)

    def info(self, action: str, /, **context: object) -> None:
        """Log what happens in good order."""
        self._line("info", action, context)

    def warning(self, action: str, /, **context: object) -> None:
        """Log what is not as it should be, and is got over."""
        self._line("warning", action, context)

    def error(self, action: str, /, **context: object) -> None:
        """Log what failed."""
        self._line("error", action, context)

    def _line(self, level: str, action: str, context: dict[str, Any]) -> None:
        import structlog  # noqa: PLC0415 - see above

        getattr(structlog.get_logger(self._name), level)(action, **context)
