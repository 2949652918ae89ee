"""The scripts that the server runs: what has to be done as one. Each says in its file what it is given and returns."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

_CLOCK: Final = ("clock",)
_DOCUMENTS: Final = ("documents",)
_PARTS: Final = {
    **dict.fromkeys(("acquire", "heartbeat", "now", "renew"), _CLOCK),
    **dict.fromkeys(("drop", "find", "load", "park", "put", "set_status", "sum", "take", "unpark"), _DOCUMENTS),
}
"""What some scripts have in common, put before them."""

_READING: Final = frozenset({"amending", "epochs", "find", "load", "look", "now", "read", "sum", "take"})
"""Those that write nothing: they are answered although the server's memory is full."""


class Script:
    """A script by its name: the text, and the digest by which a server that has it is told to run it."""

    def __init__(self, name: str) -> None:
        folder = files(__package__) / "lua"
        parts = [(folder / f"{part}.lua").read_text("utf-8") for part in (*_PARTS.get(name, ()), name)]
        # The first line has the server check before it begins whether the script may run, and its keys.
        self.text = f"#!lua{' flags=no-writes' if name in _READING else ''}\n" + "\n".join(parts)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def script(name: str) -> Script:
    """Return the script in `lua/<name>.lua`."""
    return Script(name)
