"""The bot's token is a part of each address of the Bot API, and httpx says in log lines which address it asked."""

import logging
import re
from typing import Final

_TOKEN: Final = re.compile(r"/bot[0-9]+:[A-Za-z0-9_-]+")


class _Masked(logging.Filter):
    """Takes tokens out of lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub("/bot***", str(one)) if "/bot" in str(one) else one for one in record.args)
        return True


_MASKED: Final = _Masked()


def mask_tokens() -> None:
    """Keep the tokens of bots out of the log lines of httpx. Idempotent: the same filter is there once."""
    logging.getLogger("httpx").addFilter(_MASKED)
