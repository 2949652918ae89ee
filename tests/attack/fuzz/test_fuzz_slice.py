"""A slice of the fuzzer for every test run: each parser, with inputs that hypothesis chooses and makes smaller."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.fuzz.parser import MOST_WORDS, Fault, Parser, try_one
from tests.attack.fuzz.parsers import parsers

_FEW = settings(max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, Parser]]:
    with TemporaryDirectory() as folder:
        yield {parser.name: parser for parser in parsers(Path(folder))}


def _names() -> list[str]:
    with TemporaryDirectory() as folder:
        return [parser.name for parser in parsers(Path(folder))]


@pytest.mark.parametrize("name", _names())
def test_a_value_or_an_error_of_its_own(made: dict[str, Parser], name: str) -> None:
    @_FEW
    @given(st.randoms(use_true_random=False))
    def each(random: Random) -> None:
        try_one(made[name], random)

    each()


@pytest.mark.parametrize("name", _names())
def test_what_is_not_mangled_is_read(made: dict[str, Parser], name: str) -> None:
    made[name].parse(made[name].examples(Random(1)))


def _always(_: Random) -> bytes:
    return b'{"a": 1}'


def _raise(error: Exception) -> Parser:
    def parse(_: bytes) -> object:
        raise error

    return Parser("bad", _always, parse, (ValueError,))


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), ValueError("w" * (MOST_WORDS + 1)), ValueError("\ud800")]
)
def test_a_bad_parser_is_caught(error: Exception) -> None:
    with pytest.raises(Fault):
        try_one(_raise(error), Random(1))


def test_a_good_refusal_is_none() -> None:
    assert not try_one(_raise(ValueError("no")), Random(1))
