"""What processes use."""

from collections.abc import Iterable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil ships no types


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used, in user and system mode."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(time.user + time.system for time in times))


def family(pid: int) -> list[int]:
    """Return a process and all that it started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def peak_bytes(pid: int) -> int:
    """Return the high-water mark of resident memory where the system keeps one (Linux), else what is resident now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resident_bytes(pid)


def resident_bytes(pid: int) -> int:
    """Return what is resident now."""
    return int(psutil.Process(pid).memory_info().rss)
