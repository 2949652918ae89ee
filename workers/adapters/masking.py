"""Tokens that are a part of an address: httpx says in log lines which address it asked.

The token of a bot is in each address of Telegram's, that of an interaction in the address by which Discord is answered.
"""

import logging
import re
from typing import Final

_TOKENS: Final = re.compile(r"(?<=/bot)[0-9]+:[A-Za-z0-9_-]+|(?<=/)[^/\s]+(?=/callback\b)")
_PERHAPS: Final = ("/bot", "/callback")


class _Masked(logging.Filter):
    """Takes tokens out of lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_masked(one) for one in record.args)
        return True


def _masked(argument: object) -> object:
    text = str(argument)
    return _TOKENS.sub("***", text) if any(one in text for one in _PERHAPS) else argument


_MASKED: Final = _Masked()


def mask_tokens() -> None:
    """Keep such tokens out of the log lines of httpx. Idempotent: the same filter is there once."""
    logging.getLogger("httpx").addFilter(_MASKED)
