"""What differs between SQL databases: a file each. What is the same in all of them stands beside this folder."""

from importlib import import_module
from typing import Final

from agentbus.contracts.urls import masked
from agentbus.storage.sql.dialects.port import Dialect, Trouble

__all__ = ["Dialect", "Trouble", "dialect_of"]

_DIALECTS: Final = {
    "sqlite": ("sqlite", "Sqlite"),
    "postgresql": ("postgresql", "PostgreSQL"),
    "postgres": ("postgresql", "PostgreSQL"),
    "mysql": ("mysql", "MySQL"),
    "mariadb": ("mysql", "MySQL"),
}
"""The schemes of URLs, with the module and class that each means: only the one used is imported, with its driver."""


def dialect_of(url: str) -> Dialect:
    """Return the dialect of the database at `url`. Raises ConfigurationError for a URL that it can't use."""
    module, name = _DIALECTS[url.partition("://")[0].lower()]
    dialect: Dialect = getattr(import_module(f"{__name__}.{module}"), name)(url)
    dialect.target = dialect.target or masked(url)
    return dialect
