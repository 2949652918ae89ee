"""What the fuzzer needs to know of a parser, and how it judges one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from time import process_time
from typing import Any, Final

from tests.attack.crafted.mutations import as_json, damaged, mutated

MOST_SECONDS: Final = 2.0
"""Of processor time for one input of some kilobytes, on a slow machine."""

MOST_WORDS: Final = 20_000
"""Characters that an error may say."""


@dataclass(frozen=True, slots=True)
class Parser:
    """Something that reads what strangers wrote."""

    name: str
    examples: Callable[[Random], bytes]
    """Makes an input that it reads."""
    parse: Callable[[bytes], Any]
    errors: tuple[type[Exception], ...]
    """What it may raise at what it can't read."""


class Fault(AssertionError):
    """A parser did what none should."""


def mangled(example: bytes, random: Random) -> bytes:
    """Return an example that is wrong in some places: in its JSON, if it is that, or in its bytes; seldom right."""
    way = random.random()
    if way < 0.1:
        return example
    if way < 0.6:
        lines = example.split(b"\n")
        at = random.randrange(len(lines))
        try:
            lines[at] = as_json(mutated(json.loads(lines[at]), random), random)
        except ValueError:
            return damaged(example, random)
        return b"\n".join(lines)
    return damaged(example, random)


def try_one(parser: Parser, random: Random) -> bool:
    """Give a parser one mangled input; return whether it read it. Raises Fault."""
    given = mangled(parser.examples(random), random)
    begun = process_time()
    try:
        parser.parse(given)
        read = True
    except parser.errors as error:
        read = False
        _check_words(parser, given, str(error))
    except Exception as error:
        raise Fault(f"{parser.name} raised {error!r:.500} at {given[:2000]!r}") from error
    if (taken := process_time() - begun) > MOST_SECONDS:
        raise Fault(f"{parser.name} took {taken:.1f} s for {len(given)} bytes: {given[:2000]!r}")
    return read


def _check_words(parser: Parser, given: bytes, words: str) -> None:
    if len(words) > MOST_WORDS:
        raise Fault(f"{parser.name} says {len(words)} characters at {given[:2000]!r}")
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise Fault(f"{parser.name} says what can't be encoded at {given[:2000]!r}") from error
