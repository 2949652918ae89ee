"""Limiting processes to a share of a core by control groups: version 2, or the `cpu` controller of version 1."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

_ROOT: Final = Path("/sys/fs/cgroup")
_PERIOD_US: Final = 50_000
"""In each of these periods a group has its share, and rests when that is used up."""

Limit = Callable[[int], None]
"""Limits a process, by its id, and what it starts from then on."""


def how_limited() -> str | None:
    """Return by what this system limits, or None if it lets us not."""
    with suppress(OSError), limited_to(1.0):
        return "cgroup v2, cpu.max" if _is_second() else "cgroup v1, cpu.cfs_quota_us"
    return None


@contextmanager
def limited_to(share: float) -> Iterator[Limit]:
    """Give a function that limits a process to `share` of a core: each its own. Raises OSError if the system doesn't.

    The groups go with the block: whoever is still in one by then is limited no more.
    """
    parent = _ROOT if _is_second() else _ROOT / "cpu"
    groups: list[Path] = []

    def limit(pid: int) -> None:
        (group := parent / f"agentbus-{uuid4().hex[:12]}").mkdir()
        groups.append(group)
        quota = round(share * _PERIOD_US)
        if _is_second():
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        (group / "cgroup.procs").write_text(str(pid))

    try:
        _try(parent)
        yield limit
    finally:
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(OSError):  # it has ended meanwhile
                    (parent / "cgroup.procs").write_text(pid)
            group.rmdir()


def _is_second() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _try(parent: Path) -> None:
    """Raise OSError if a group can't be made or has no limit."""
    (group := parent / f"agentbus-{uuid4().hex[:12]}").mkdir()
    try:
        (group / ("cpu.max" if _is_second() else "cpu.cfs_quota_us")).read_text()
    finally:
        group.rmdir()
