"""Topic patterns, as AMQP 0-9-1 defines them for topic exchanges (section 3.1.3.3)."""

from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def topic_matches(pattern: str, routing_key: str) -> bool:
    """Whether a routing key matches: words between dots, `*` is exactly one word, `#` none or more."""
    return _matches(pattern.split("."), routing_key.split(".") if routing_key else [])


def _matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(_matches(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])
