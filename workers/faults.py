"""How a failure is told in a log line: what it is and where, never what was said or kept there.

An error's own words are left out: they may quote a person's text or a secret. A parked input keeps them. The words of
our errors about store, broker and archive are shown: they are ours, about names and addresses.
"""

import sysconfig
from os import getcwd, path
from traceback import walk_tb
from types import FrameType
from typing import Final

from agentbus.contracts.errors import ArchiveError, BusError, StoreError
from agentbus.contracts.text import encodable

_Line = tuple[FrameType, int]

_ROOT: Final = path.dirname(path.dirname(path.abspath(__file__)))
_OURS: Final = (_ROOT + path.sep,)
_INSTALLED: Final = tuple(sysconfig.get_path(name) + path.sep for name in ("purelib", "platlib", "stdlib"))
_ABOUT_SERVICES: Final = (StoreError, BusError, ArchiveError)
_SHOWN_LINES: Final = 4


def told(error: BaseException) -> dict[str, str]:
    """Return an error's kind and where it comes from: the program's own last line, as `file:line in function`.

    Of a fault that no line of the program's has a part in: the lines that led there.
    """
    kind = type(error)
    named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    lines = list(walk_tb(error.__traceback__))
    own = [line for line in lines if not _is_within(line, _OURS + _INSTALLED)]
    # A program that is itself installed among the packages: where it was entered.
    own = own or [line for line in lines if not _is_within(line, _OURS)][:1]
    shown = own[-1:] or lines[-_SHOWN_LINES:]
    reason = {"reason": str(error)} if isinstance(error, _ABOUT_SERVICES) else {}
    return {"error": encodable(named), **reason, "at": " > ".join(map(_place, shown))}


def _is_within(line: _Line, folders: tuple[str, ...]) -> bool:
    return path.abspath(line[0].f_code.co_filename).startswith(folders)


def _place(line: _Line) -> str:
    code = line[0].f_code
    inside = code.co_filename.startswith(getcwd() + path.sep)
    return encodable(f"{path.relpath(code.co_filename) if inside else code.co_filename}:{line[1]} in {code.co_name}")
