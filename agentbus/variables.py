"""Environment variables: those that nothing reads, and secrets that are kept in files."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings, DotEnvSettingsSource

from agentbus.contracts.errors import ConfigurationError

ENV_PREFIX: Final = "AGENTBUS_"
ENV_FILE: Final = ".env"
FILE_SUFFIX: Final = "_FILE"
"""A secret setting may be kept in a file that its variable with this suffix names, as containers are given secrets."""

OTHERS: Final = ("AGENTBUS_SESSIONS_", "AGENTBUS_TEST_")
"""How variables begin that something else reads: the session library's configuration, and tests."""


@dataclass(frozen=True)
class UnknownVariable:
    """A variable named like ours that nothing reads: most likely misspelt."""

    name: str
    nearest: str | None
    """The known name that is most like it, if one is."""


def variable_of(setting: str) -> str:
    """Return the variable that a setting is read from."""
    return f"{ENV_PREFIX}{setting.upper()}"


def unknown_among(environment: Iterable[str], known: Collection[str]) -> list[UnknownVariable]:
    """Return those of the environment's names and of `.env`'s that begin as ours do and are not `known`."""
    ours = {name for name in (*environment, *_in_env_file()) if name.upper().startswith(ENV_PREFIX)}
    return [
        UnknownVariable(name, next(iter(get_close_matches(name.upper(), sorted(known), n=1, cutoff=0.6)), None))
        for name in sorted(ours)
        if name.upper() not in known and not name.upper().startswith(OTHERS)
    ]


def read_environment() -> dict[str, str]:
    """Return the variables of the environment and, where it has none of that name, of `.env`; names in capitals."""
    return {**_in_env_file(), **{name.upper(): value for name, value in os.environ.items()}}


def read_files(settings: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return those of `settings` that have a file and no variable of their own. Raises ConfigurationError."""
    found: dict[str, str] = {}
    for setting in settings:
        variable = variable_of(setting)
        path = environment.get(variable + FILE_SUFFIX)
        if not path or environment.get(variable):
            continue
        try:
            found[setting] = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{variable}{FILE_SUFFIX}: {path} can't be read: {error}") from None
    return found


def _in_env_file() -> Mapping[str, str]:
    source = DotEnvSettingsSource(BaseSettings, env_file=ENV_FILE)
    return {name.upper(): value for name, value in source.env_vars.items() if value is not None}
