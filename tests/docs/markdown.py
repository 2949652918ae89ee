"""The documents there are, and reading Markdown: its code blocks, code spans, links and marked sections."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(DOCS.glob("*.md"))
"""The pages of the documentation, decisions aside."""

_FENCED: Final = re.compile(
    r"^(?:<!-- not run: (?P<not_run>[^\n]+?) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    language: str
    text: str
    line: int
    """Where its text begins, from 1."""
    not_run: str | None
    """Why a test can't run it, from a comment `<!-- not run: why -->` on the line before."""

    def __str__(self) -> str:
        return f"line-{self.line}"


def blocks(text: str, *languages: str) -> list[Block]:
    """Return the code blocks in one of `languages`, or in any if none is named."""
    found = [
        Block(match["language"], match["text"], text.count("\n", 0, match.start("text")) + 1, match["not_run"])
        for match in _FENCED.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def spans(text: str) -> list[str]:
    """Return the code spans outside of code blocks."""
    return _SPAN.findall(_FENCED.sub("", text))


def links(text: str) -> list[str]:
    """Return where links outside of code blocks lead, as they stand, within the repository: without `#section`."""
    targets = [target.partition("#")[0] for target in _LINK.findall(_FENCED.sub("", text))]
    return [target for target in targets if target and "://" not in target]


def section(text: str, name: str) -> str:
    """Return what stands between `<!-- name -->` and `<!-- /name -->`."""
    found = re.search(rf"^<!-- {name} -->\n(.*?)^<!-- /{name} -->$", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {name!r}"
    return found[1]
