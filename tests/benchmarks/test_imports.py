"""What importing costs: whoever publishes a message, or asks for help, does not pay for servers and drivers.

Measured in processes of their own, in processor time, the best of a few: how long it takes tells how busy a machine is.
The first of them writes the bytecode that the others read, as with what is installed: to compile what is ours takes
half as long again. The limits are for a machine that imports what is not ours in YARDSTICK seconds; one that is slower,
or that shares its processors with others now, has as much more.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

TRIES = 7
YARDSTICK = 0.12
"""Seconds of a processor; on the machine that this was written on 0.11, beside 0.27 for the session library."""

OTHERS = "import asyncio, tenacity; from pydantic import BaseModel, TypeAdapter"

_LIBRARY = "import agentbus.sessions"
_HELP = """
from agentbus.cli import main
sys.argv = ["agentbus", "--help"]
sys.stdout = open("/dev/null", "w")
try:
    main()
except SystemExit:
    pass
"""
_TOLD = "\nprint(time.process_time(), len(sys.modules), *sorted(sys.modules), file=sys.stderr)"


def run(program: str, bytecode: Path) -> tuple[float, set[str]]:
    """Return the seconds of a processor that a program takes, and the modules that it has loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", f"import sys, time\n{program}{_TOLD}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, _, *modules = done.stderr.split()
    return float(seconds), set(modules)


def measured(program: str, bytecode: Path) -> tuple[float, set[str]]:
    """Return the seconds that a program takes, on a machine that is as fast as YARDSTICK says, and its modules."""
    runs = [(run(program, bytecode), run(OTHERS, bytecode)) for _ in range(TRIES)]
    return min(seconds for (seconds, _), _ in runs) / slower(others for _, (others, _) in runs), runs[-1][0][1]


def slower(others: Iterable[float]) -> float:
    """Return by how much this machine is slower than the one of YARDSTICK, from what it took for that; at least 1."""
    return max(1.0, min(others) / YARDSTICK)


def slower_now(bytecode: Path) -> float:
    """Return by how much this machine is slower now than the one of YARDSTICK."""
    return slower(run(OTHERS, bytecode)[0] for _ in range(TRIES))


def test_the_session_library_is_light(tmp_path: Path) -> None:
    seconds, modules = measured(_LIBRARY, tmp_path)
    assert seconds < 0.42  # 0.35 to 0.37 on 2026-11-27
    assert len(modules) <= 500
    heavy = {"aio_pika", "faststream", "fsspec", "motor", "opentelemetry", "prometheus_client", "pydantic_settings"}
    assert modules & (heavy | {"pymongo", "rich", "sqlalchemy", "structlog", "typer", "uvicorn"}) == set()


def test_help_is_given_at_once(tmp_path: Path) -> None:
    seconds, modules = measured(_HELP, tmp_path)
    assert seconds < 0.4
    ours = ("agentbus.contracts", "agentbus.storage", "agentbus.workers")
    assert {one for one in modules if one.startswith(ours)} == set()
