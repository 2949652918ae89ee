"""The results of a run as a file: what came out, and when, of which commit, on which machine."""

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from tests.harness.processes import ROOT

_PACKAGES: Final = ("aio-pika", "aiormq", "motor", "pymongo")


def write_results(file: Path, results: Mapping[str, Any], *, indent: int = 2) -> Path:
    """Write results beside what they are of; return the file.

    A run of many parts does so after each: one that is cut short has not been for nothing.
    """
    about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), "machine": machine()}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**about, **results}, indent=indent, default=str) + "\n", "utf-8")
    return file


def machine() -> dict[str, Any]:
    """Describe this machine, how busy it is, and the versions that matter."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load": [round(one, 1) for one in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _PACKAGES},
    }


def commit() -> str | None:
    """Return what is tried: the commit, marked if something differs from it; None where git doesn't know."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
