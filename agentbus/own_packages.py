"""Our other packages have everyday names: importing `agentbus` says so if Python finds somebody else's first."""

import os.path
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

OWN: Final = ("contracts", "storage", "workers")


class ForeignPackage(ImportError):
    """Python finds another package of the same name before one of ours: `name`, at `path`."""


def refuse_foreign_packages(names: Iterable[str] = OWN) -> None:
    """Look where our packages would come from, without importing them.

    Raises ForeignPackage if one does not lie beside `agentbus`. What is nowhere is left to the import that needs it.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in names:
        place, found = os.path.join(home, name), _found(name)
        if found and os.path.realpath(os.path.dirname(found)) != os.path.realpath(place):
            raise ForeignPackage(
                f"AgentBus has a package {name!r} of its own ({place}), but Python finds another one first: {found}. "
                f"Both can't be imported as {name!r} in one program: rename the other, or move it into a package of "
                "yours. If your program doesn't need it, start Python with -P, which leaves the script's and the "
                "current folder out.",
                name=name,
                path=found,
            )


def _found(name: str) -> str | None:
    """Return the file that `import name` gives or has given; None if there is none."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    spec = find_spec(name)
    return spec.origin if spec else None
