"""`python -m tests.benchmarks.hotspots [USERS]`: where a session worker's time goes on an interleaved backlog.

py-spy looks 500 times a second at the thread that runs Python code (holds the interpreter's lock), if one does.
`self` is the share of looks in which a function itself ran, `with callees` in which it or something that it called
did. On systems that restrict tracing it needs to be root.
"""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.load.client import Load
from tests.benchmarks.stage import Services, stage
from tests.services import private_mongodb, private_rabbitmq

_SHOWN = 35
_EVERYWHERE = 0.97


def main() -> None:
    """Profile one backlog and print the functions that cost most."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    with private_rabbitmq() as rabbitmq, private_mongodb() as mongodb, Load() as load:
        stacks = profile(Services(rabbitmq, mongodb, load), users)
    alone, inclusive = shares(stacks)
    table = Table(title="share of the worker's time")
    for heading in ("self", "function", "with callees", "function"):
        table.add_column(heading)
    for (name, mine), (other, theirs) in zip(alone[:_SHOWN], inclusive[:_SHOWN], strict=False):
        table.add_row(f"{mine:.1%}", name, f"{theirs:.1%}", other)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def profile(services: Services, users: int) -> str:
    """Return the stacks that were seen: a line for each, with its count at the end."""
    with stage(services, AGENTBUS1) as run:
        run.load.call("publish", shape="interleaved", name="user", users=users, each=10)
        run.start_workers()
        run.load.call("until_first")
        file = Path(run.folder, "stacks")
        pid = str(run.workers[0].process.pid)
        spy = str(Path(sys.executable).with_name("py-spy"))
        command = [spy, "record", "--pid", pid, "--gil", "--rate", "500", "--format", "raw", "--output", str(file)]
        with subprocess.Popen(command) as looking:
            run.load.call("until_all")
            looking.send_signal(signal.SIGINT)
        return file.read_text()


def shares(stacks: str) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the shares of functions themselves and with callees, the largest first, without those of the start."""
    alone: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in stacks.splitlines():
        path, _, count = line.rpartition(" ")
        frames = [_function(frame) for frame in path.split(";")]
        alone[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    total = sum(alone.values())
    return _ranked(alone, total), _ranked(inclusive, total)


def _ranked(counts: Counter[str], total: int) -> list[tuple[str, float]]:
    return [(name, count / total) for name, count in counts.most_common() if count < _EVERYWHERE * total]


def _function(frame: str) -> str:
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame


if __name__ == "__main__":
    main()
