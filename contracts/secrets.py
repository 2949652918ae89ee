"""Secrets: values that are not to be seen in checkpoints, events and log lines."""

from collections.abc import Collection, Mapping
from typing import Any, Final

SECRET_KEYS: Final = (
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "client_secret",
    "password",
    "private_key",
    "refresh_token",
    "secret",
    "token",
)
"""Keys whose values are secrets, in any case; `-` and `_` are the same."""


def without_secrets(values: Mapping[str, Any], keys: Collection[str] = SECRET_KEYS) -> dict[str, Any]:
    """Return `values` without those whose key is one of `keys`, on every level."""
    secret = {_plain(key) for key in keys}
    return {key: _cleaned(value, keys) for key, value in values.items() if _plain(key) not in secret}


def _cleaned(value: Any, keys: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value, keys)
    return [_cleaned(item, keys) for item in value] if isinstance(value, list | tuple) else value


def _plain(key: object) -> str:
    return str(key).lower().replace("-", "_")
