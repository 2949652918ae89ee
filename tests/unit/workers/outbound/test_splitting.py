"""Splitting: nothing of a text is lost, no message is too long, no code fence is torn."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbus.workers.outbound.splitting import LEAST_LIMIT, measure_of, split

_words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="`~"), min_size=1)
_prose = st.lists(_words | st.just("a" * 150), min_size=1, max_size=30).map(" ".join)
_code = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="`~"))).map(
    "\n".join
)
_fences = st.builds(
    lambda mark, language, code: f"{mark}{language}\n{code}\n{mark}",
    st.sampled_from(["```", "~~~", "````"]),
    st.sampled_from(["", "python", " c++"]),
    _code,
)
_texts = st.lists(_prose | _fences, max_size=6).map("\n\n".join)
_limits = st.integers(LEAST_LIMIT, 200)
_units = st.sampled_from(["characters", "utf-16", "bytes"])


def without_blanks(text: str) -> str:
    """Return a text without what splitting may leave out or add: blanks, and the lines of fences."""
    lines = (line for line in text.split("\n") if not re.match(r" {0,3}(```|~~~)", line))
    return re.sub(r"\s", "", "".join(lines))


def is_balanced(text: str) -> bool:
    mark = ""
    for line in text.split("\n"):
        if mark:
            if re.fullmatch(rf" {{0,3}}{mark[0]}{{{len(mark)},}}\s*", line):
                mark = ""
        elif found := re.match(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})", line):
            mark = found[1]
    return not mark


@given(_texts, _limits, _units)
def test_nothing_is_lost_and_no_fence_is_torn(text: str, limit: int, unit: str) -> None:
    pieces = split(text, limit, unit)
    assert all(piece.strip() and measure_of(unit)(piece) <= limit for piece in pieces)
    assert without_blanks("\n".join(pieces)) == without_blanks(text)
    assert all(is_balanced(piece) for piece in pieces)
    assert split(text, limit, unit) == pieces


@given(st.text(max_size=400), _limits, _units)
def test_whatever_a_text_is_it_comes_to_messages_that_fit(text: str, limit: int, unit: str) -> None:
    assert all(piece.strip() and measure_of(unit)(piece) <= limit for piece in split(text, limit, unit))


@given(st.text(st.sampled_from("ab \n`~.`~"), max_size=600), _limits)
def test_fences_of_any_kind_come_to_messages_that_fit(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert all(piece.strip() and len(piece) <= limit for piece in pieces)
    assert [*"".join(pieces)].count("a") == [*text].count("a")


def test_it_is_cut_at_paragraphs_then_at_lines_then_at_words() -> None:
    one, two = "one " * 12, "two " * 12
    assert split(f"{one}\n\n{two}", 64) == (one.strip(), two.strip())
    assert split(f"{one}\n{two}", 64) == (one.strip(), two.strip())
    assert split(f"{one}{two}", 64) == ((one + "two " * 4).strip(), ("two " * 8).strip())
    assert split("x" * 100, 64) == ("x" * 64, "x" * 36)


def test_what_fits_stays_as_it_is_and_what_is_blank_is_no_message() -> None:
    assert split("  as it is \n", 64) == ("  as it is \n",)
    assert split(" \n\n", 64) == split("", 64) == split(" \n" * 100, 64) == ()


def test_a_fence_that_fits_one_message_is_not_cut() -> None:
    fence = "```python\n" + "x = 1\n\n" * 6 + "```"
    assert split("word " * 10 + "\n" + fence + "\n\nafter it", 64) == (("word " * 10).strip(), fence, "after it")


def test_a_fence_that_does_not_fit_is_closed_and_opened_again_in_its_language() -> None:
    code = "".join(f"line_{number} = {number}\n" for number in range(12))
    pieces = split(f"```python\n{code}```\n", 64)
    assert len(pieces) > 1
    assert all(piece.startswith("```python\nline_") and piece.endswith("\n```") for piece in pieces)


def test_a_fence_that_nobody_closed_ends_with_each_message() -> None:
    pieces = split("```\n" + "x = 1\n" * 40, 64)
    assert len(pieces) > 1
    assert all(is_balanced(piece) for piece in pieces)


def test_an_emoji_of_several_characters_stays_whole() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    pieces = split("a" * 62 + family, 64)
    assert pieces == ("a" * 62, family)


def test_a_limit_below_the_least_is_refused() -> None:
    with pytest.raises(ValueError, match="is below"):
        split("text", LEAST_LIMIT - 1)
    with pytest.raises(ValueError, match="no unit"):
        split("text", 100, "words")
