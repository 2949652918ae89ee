"""Splitting a text into messages that a platform takes: at paragraphs, and with every code fence whole or reopened."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

LEAST_LIMIT: Final = 64
"""The smallest limit that a text can be split by."""

_FENCE: Final = re.compile(r"^ {0,3}(?P<mark>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$")
"""A line that opens a fence; of backticks, it has none further on (CommonMark 0.31, section 4.5)."""
_LONGEST_MARK: Final = 16
_BLANKS: Final = re.compile(r"\s+")
_JOINERS: Final = "\u200d\ufe0e\ufe0f"

Measure = Callable[[str], int]


def measure_of(unit: str) -> Measure:
    """Return how long a text is in a platform's unit: `characters` (code points), `utf-16` or `bytes` (UTF-8)."""
    match unit:
        case "characters":
            return len
        case "utf-16":
            return lambda text: len(text) + sum(character > "\uffff" for character in text)
        case "bytes":
            return lambda text: len(text.encode("utf-8", "surrogatepass"))
    raise ValueError(f"{unit!r} is no unit of texts")


def split(text: str, limit: int, unit: str = "characters") -> tuple[str, ...]:
    """Return `text` as messages of at most `limit` each, none of them blank; no message for a blank text.

    It is cut at paragraphs, else at lines, else at spaces, else anywhere; the blanks at a cut are left out. A code
    fence that is too long for one message is closed at the cut and opened again after it. The same text is always
    cut in the same way. Raises ValueError for a limit below LEAST_LIMIT.
    """
    if limit < LEAST_LIMIT:
        raise ValueError(f"a limit of {limit} is below {LEAST_LIMIT}")
    measure = measure_of(unit)
    if measure(text) <= limit:
        return (text,) if text.strip() else ()
    pieces: list[str] = []
    held = ""
    for part in _parts(text):
        if measure(_trimmed(held + part.text)) <= limit:
            held += part.text
            continue
        pieces.append(_trimmed(held))
        *whole, held = part.cut(limit, measure)
        pieces += whole
    pieces.append(_trimmed(held))
    return tuple(piece for piece in pieces if piece.strip())


def _trimmed(text: str) -> str:
    """Return a text without blank lines around it; the indentation of its first line stays."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


# The parts of a text


@dataclass(frozen=True, slots=True)
class _Prose:
    """A paragraph, with the blank lines after it."""

    text: str

    def cut(self, limit: int, measure: Measure) -> list[str]:
        """Return it in pieces, of which the last may be added to."""
        return list(_cut(self.text, limit, measure, _lines)) or [""]


@dataclass(frozen=True, slots=True)
class _Fence:
    """A code fence, with the blank lines after it."""

    opener: str
    mark: str
    body: str
    rest: str
    """What closes it, and the blank lines after that; empty for one that is open to the end."""

    @property
    def text(self) -> str:
        return f"{self.opener}\n{self.body}{self.rest}"

    def cut(self, limit: int, measure: Measure) -> list[str]:
        """Return it in pieces, each a fence of its own."""
        opener = self.opener.strip()
        if measure(opener) > limit // 2:
            opener = self.mark  # a name of a language that long is none
        around = measure(f"{opener}\n\n{self.mark}")
        if self.rest and measure(_trimmed(self.text)) <= limit:
            return [self.text]
        chunks = _cut(self.body, limit - around, measure, _lines, keep=True)
        pieces = [f"{opener}\n{chunk.strip(chr(10))}\n{self.mark}" for chunk in chunks] or [""]
        return [*pieces[:-1], f"{pieces[-1]}\n\n"]


def _parts(text: str) -> Iterator[_Prose | _Fence]:
    """Yield the paragraphs and fences of a text; together they are the text."""
    lines = text.split("\n")
    prose: list[str] = []
    place = 0
    while place < len(lines):
        opened = _FENCE.match(lines[place])
        if opened is None or len(opened["mark"]) > _LONGEST_MARK:
            prose.append(lines[place])
            place += 1
            continue
        yield from _paragraphs(prose)
        prose = []
        mark = opened["mark"]
        closes = re.compile(rf"^ {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
        end = next((at for at in range(place + 1, len(lines)) if closes.match(lines[at])), None)
        after = len(lines) if end is None else end + 1
        while end is not None and after < len(lines) and not lines[after].strip():
            after += 1
        body = lines[place + 1 : end]
        last = after == len(lines)
        rest = "" if end is None else "\n".join(lines[end:after]) + ("" if last else "\n")
        inside = "".join(f"{line}\n" for line in body)
        yield _Fence(lines[place], mark, inside if end is not None else inside.removesuffix("\n"), rest)
        place = after
    yield from _paragraphs(prose, last=True)


def _paragraphs(lines: list[str], *, last: bool = False) -> Iterator[_Prose]:
    held: list[str] = []
    for line in lines:
        if held and not held[-1].strip() and line.strip():
            yield _Prose("".join(f"{one}\n" for one in held))
            held = []
        held.append(line)
    if held:
        text = "".join(f"{one}\n" for one in held)
        yield _Prose(text.removesuffix("\n") if last else text)


# Cutting what is too long for one message

_Finer = Callable[[str, int, Measure], Iterator[str]]


def _cut(text: str, limit: int, measure: Measure, units: _Finer, *, keep: bool = False) -> Iterator[str]:
    """Yield pieces of a text, packed from what `units` gives; blanks around them go unless they are to be kept."""
    held = ""
    for unit in units(text, limit, measure):
        if held and measure((held + unit).rstrip()) > limit:
            yield held if keep else _trimmed(held)
            held = unit
        else:
            held += unit
    if held.strip():
        yield held


def _lines(text: str, limit: int, measure: Measure) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        if measure(line.rstrip()) <= limit:
            yield line
        else:
            yield from _words(line, limit, measure)


def _words(line: str, limit: int, measure: Measure) -> Iterator[str]:
    """Yield the words of a line, each with the blanks after it."""
    begun = 0
    for gap in _BLANKS.finditer(line):
        if line.startswith(("```", "~~~"), gap.end()) and _FENCE.match(line[gap.end() :]):
            continue  # at the beginning of a message this would open a fence
        yield from _word(line[begun : gap.end()], limit, measure)
        begun = gap.end()
    yield from _word(line[begun:], limit, measure)


def _word(word: str, limit: int, measure: Measure) -> Iterator[str]:
    """Yield a word, in pieces if it is too long: not between a character and what joins it."""
    while measure(word.rstrip()) > limit:
        end = _longest(word, limit, measure)
        while end > 1 and (word[end] in _JOINERS or word[end - 1] == "\u200d"):
            end -= 1
        yield word[:end]
        word = word[end:]
    if word:
        yield word


def _longest(word: str, limit: int, measure: Measure) -> int:
    """Return how many of a word's first characters fit."""
    low, high = 1, min(len(word), limit)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(word[:middle]) <= limit else (low, middle - 1)
    return low
