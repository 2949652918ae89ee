"""Names of modules that differ by an ending alone: nobody remembers which is which, `erase`, `erasing` or `erasure`."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_ENDINGS: Final = (
    *("izations", "ization", "ations", "ation", "ities", "ings", "ions", "ures", "ments", "ages", "ity", "age"),
    *("ing", "ion", "ure", "ment", "ies", "ers", "ors", "es", "er", "or", "ed", "al", "s", "e", "y"),
)
"""Longest first, so that a word loses as much as it can at a time."""
_SHORTEST: Final = 3
"""Letters that a stem keeps at the least: below that, words are alike by chance."""


def stem(name: str) -> str:
    """Return what is left of a name when each of its words has lost its endings, one after the other."""
    return "_".join(map(_stem, name.split("_")))


def _stem(word: str) -> str:
    while ending := next((one for one in _ENDINGS if word.endswith(one) and len(word) - len(one) >= _SHORTEST), ""):
        word = word.removesuffix(ending)
    doubled = len(word) > _SHORTEST and word[-1] == word[-2]
    return word[:-1] if doubled else word


def near_homonyms(modules: Iterable[Path]) -> list[list[str]]:
    """Return the groups of modules and packages whose names are not the same, but for an ending; sorted."""
    alike = defaultdict[str, set[Path]](set)
    for module in modules:
        alike[stem(module.name)].add(module)
    return sorted(sorted(map(str, group)) for group in alike.values() if len({one.name for one in group}) > 1)


def modules_in(package: Path) -> list[Path]:
    """Return the modules and packages inside a package, without suffix; what is linked into it is another package's."""
    found = []
    for entry in sorted(package.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and (entry / "__init__.py").is_file():
            found += [entry, *modules_in(entry)]
        elif entry.suffix == ".py" and not entry.stem.startswith("__"):
            found.append(entry.with_suffix(""))
    return found
