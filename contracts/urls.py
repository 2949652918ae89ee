"""URLs as people and logs may see them."""

import re
from typing import Final

from agentbus.contracts.errors import ConfigurationError

LOOPBACK: Final = "127.0.0.1"
"""The address at which this machine alone reaches itself."""

_CREDENTIALS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<credentials>[^\s\"'<>]*)@")
_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_UNESCAPED: Final = re.compile("[/?#]")


def masked(url: str) -> str:
    """Return `url` without its password and without its options, which may hold secrets too.

    Everything before the last `@` counts as credentials, so that a password that should have been escaped does not
    show either.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        scheme, separator, rest = "", "", url
    credentials, at, place = rest.rpartition("@")
    user = credentials.partition(":")[0] if ":" in credentials else ""
    return f"{scheme}{separator}{f'{user}:***@' if at else ''}{place.partition('?')[0]}"


def masked_in(text: str) -> str:
    """Return `text`, such as somebody else's error, with the credentials of every URL in it masked."""
    return _CREDENTIALS.sub(_mask, text) if "@" in text else text


def check_credentials(url: str) -> None:
    """Refuse a server's URL whose user or password holds a character that has to be escaped there.

    Such a URL would be read as one of another host, and part of the password would turn up in errors about it.
    Raises ConfigurationError.
    """
    credentials, _, _ = url.partition("://")[2].rpartition("@")
    if found := _UNESCAPED.search(credentials):
        raise ConfigurationError(
            f"the user or password in {masked(url)} holds an unescaped {found[0]!r}: write %{ord(found[0]):02X}"
        )


def _mask(found: re.Match[str]) -> str:
    user = found["credentials"].partition(":")[0] if ":" in found["credentials"] else ""
    return f"{found['scheme']}{user}:***@"
