"""Fuzzing from seeds: so many inputs for each parser."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.attack.fuzz.parser import Fault, try_one
from tests.attack.fuzz.parsers import parsers

_FAULTS = 3


@dataclass(slots=True)
class Fuzzed:
    """What fuzzing came to."""

    inputs: int = 0
    read: dict[str, int] = field(default_factory=dict)
    """How many inputs each parser could read, mangled as they were."""
    faults: list[str] = field(default_factory=list)


def fuzz(each: int, seed: str) -> Fuzzed:
    """Give every parser `each` inputs; a parser that fails a few times is let alone."""
    done = Fuzzed()
    with TemporaryDirectory(prefix="agentbus-fuzz-") as folder:
        for parser in parsers(Path(folder)):
            done.read[parser.name] = failed = 0
            for number in range(each):
                done.inputs += 1
                try:
                    done.read[parser.name] += try_one(parser, Random(f"{seed}/{parser.name}/{number}"))
                except Fault as fault:
                    done.faults.append(f"{seed}/{parser.name}/{number}: {fault}")
                    failed += 1
                if failed == _FAULTS:
                    break
    return done
