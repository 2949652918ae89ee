"""What is written down: the evidence of a failure, and the results of a run."""

import json
import os
import platform
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from agentbus.testing import Evidence, Verdict

RESULTS: Final = Path(__file__).parent / "results"
_GIGABYTE: Final = 1024**3


def keep_evidence(folder: Path, evidence: Evidence, verdict: Verdict) -> None:
    """Write what the checker read and decided beside the logs and traces of the workers."""
    _write(folder / "verdict.json", verdict.as_dict())
    _lines(
        folder / "published.jsonl", ([one.conversation_id, one.input_id, one.confirmed] for one in evidence.published)
    )
    _lines(folder / "commits.jsonl", (one.model_dump(mode="json") for log in evidence.commits.values() for one in log))
    _lines(folder / "events.jsonl", (one.model_dump(mode="json") for one in evidence.events or ()))
    _lines(folder / "zombies.jsonl", ([one.worker, one.start, one.end] for one in evidence.zombies))
    _lines(folder / "parked.jsonl", (one.model_dump(mode="json") for one in evidence.parked))


def write_results(name: str, results: Mapping[str, Any]) -> Path:
    """Write the results of a run with when and where it was; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    _write(path, {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), **results})
    return path


def machine() -> dict[str, Any]:
    """Describe this machine and the versions that matter."""
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIGABYTE, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in ("aio-pika", "aiormq", "motor", "pymongo")},
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", "utf-8")


def _lines(path: Path, values: Any) -> None:
    path.write_text("".join(json.dumps(value, default=str) + "\n" for value in values), "utf-8")
