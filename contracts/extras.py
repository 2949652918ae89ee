"""Extras: libraries that a part of AgentBus needs, and that the rest does without."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from agentbus.contracts.errors import ConfigurationError

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "rabbit": ("aio_pika", "aiormq", "faststream"),
    "mongo": ("bson", "gridfs", "motor", "pymongo"),
    "sql": ("alembic", "sqlalchemy"),
    "postgresql": ("alembic", "asyncpg", "sqlalchemy"),
    "mysql": ("alembic", "asyncmy", "cryptography", "sqlalchemy"),
    "redis": ("redis",),
    "files": ("fsspec",),
    "crypto": ("cryptography",),
    "expiry": ("aiosmtplib", "httpx"),
    "http": ("fastapi", "httpx", "httpx_sse", "jinja2", "jwt", "markupsafe", "starlette", "uvicorn"),
    "channels": ("cryptography", "httpx", "jmespath", "starlette", "uvicorn", "websockets"),
    "discord": ("aiohttp", "discord"),
    "plots": ("PIL",),
    "otel": ("opentelemetry",),
    "testing": ("hypothesis", "pytest", "pytest_asyncio"),
}
"""The modules that each extra brings; pyproject.toml says in which packages. A part imports them when it is opened."""


@contextmanager
def importing_extras(wanted: str | None = None) -> Iterator[None]:
    """Raise ConfigurationError for a module of an extra that is not installed, saying how to install it.

    Of the extras that bring it, `wanted` is named if it does.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        for extra in ([wanted] if wanted else []) + [*EXTRAS]:
            if missing in EXTRAS[extra]:
                raise ConfigurationError(f"{missing} is not installed: pip install 'agentbus[{extra}]'") from error
        raise
