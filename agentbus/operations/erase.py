"""Erasing users: what would go, the erasure itself, and its repetition where an old backup brought somebody back."""

from collections.abc import Callable
from typing import Final

from agentbus.composition.app import App
from agentbus.contracts.expiry import ErasureReceipt
from agentbus.workers.erasure import users
from agentbus.workers.erasure.plan import Plan

__all__ = ["Plan", "Progress", "erase_user", "find_user", "reapply_erasures"]

Progress = Callable[[str, int], None]
"""Told what is being read or erased, and how many so far."""

_SILENT: Final[Progress] = lambda _what, _count: None  # noqa: E731 - a value, not a function of this module


async def find_user(app: App, user: str, *, progress: Progress = _SILENT) -> Plan:
    """Return what an erasure of `user` would erase; nothing is changed. Reads everything, so it may take minutes.

    Archived sessions are looked at if the settings name the archive. Raises ArchiveError, StoreError,
    ConfigurationError.
    """
    return await users.find_user(_erasing(app, progress), user)


async def erase_user(app: App, user: str, *, progress: Progress = _SILENT) -> ErasureReceipt:
    """Erase a user for good, from everywhere, and return the receipt. Idempotent: stopped, it goes on when run again.

    A session worker must run. Raises ReplyTimeout, BusError, StoreError, ArchiveError (a damaged file has to be seen to
    first), LockTimeout, EditConflict if something is found again and again; ConfigurationError.
    """
    return await users.erase_user(_erasing(app, progress), user)


async def reapply_erasures(app: App, *, progress: Progress = _SILENT) -> list[ErasureReceipt]:
    """Erase again who came back with an old backup; return a receipt of each. Raises as `erase_user` does."""
    return await users.reapply_erasures(_erasing(app, progress))


def _erasing(app: App, progress: Progress) -> users.Erasing:
    return users.Erasing(
        store=app.store, archive=app.archive, commands=app.commands, clock=app.clock, progress=progress
    )
