"""Secrets: values that are not to be seen in announced events and log lines."""

from collections.abc import Collection, Mapping
from typing import Any, Final

SECRET_KEYS: Final = (
    "access_key",
    "access_token",
    "api_key",
    "api_secret",
    "auth_token",
    "authorization",
    "bearer_token",
    "bot_token",
    "client_secret",
    "cookie",
    "credentials",
    "id_token",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "pwd",
    "refresh_token",
    "secret",
    "secret_access_key",
    "secret_key",
    "set_cookie",
    "signing_secret",
    "token",
    "webhook_secret",
    "x_api_key",
    "x_auth_token",
)
"""Keys whose values are secrets, in any case and spelling: `api_key`, `Api-Key`, `apikey` and `apiKey` are the same."""


def without_secrets(values: Mapping[str, Any], keys: Collection[str] = SECRET_KEYS) -> dict[str, Any]:
    """Return `values` without those whose key is one of `keys`, on every level."""
    secret = {_plain(key) for key in keys}
    return {key: _cleaned(value, keys) for key, value in values.items() if _plain(key) not in secret}


def _cleaned(value: Any, keys: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value, keys)
    return [_cleaned(item, keys) for item in value] if isinstance(value, list | tuple) else value


def _plain(key: object) -> str:
    return str(key).lower().replace("-", "").replace("_", "")
