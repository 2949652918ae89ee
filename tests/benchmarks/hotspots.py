"""`python -m tests.benchmarks.hotspots [USERS] [SHAPE]`: where a session worker's time goes on a backlog.

SHAPE is `interleaved`, which is the default, or `bursts`. The processor time is that of the whole backlog,
by a worker that is warm, and is shared out to the parts of its work as they were seen; py-spy takes some of it.

py-spy looks 500 times a second at the thread that runs Python code (holds the interpreter's lock), if one does.
`self` is the share of looks in which a function itself ran, `with callees` in which it or something that it called
did. On systems that restrict tracing it needs to be root.
"""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.load.client import Load
from tests.benchmarks.stage import Services, stage
from tests.services import private_mongodb, private_rabbitmq

_SHOWN = 35
_EACH = 10
_EVERYWHERE = 0.97


_PARTS: Final = (
    ("decide", ("plan_turn (", "Decider.decide (")),
    ("append: BSON of commits", ("commit_document (",)),
    ("append: MongoDB's client", ("MongoLog.",)),
    ("heads: BSON", ("HeadEncoder.",)),
    ("heads: MongoDB's client", ("MongoHeads.",)),
    ("announce: JSON of events", ("EventEnvelope.bytes_of",)),
    ("announce: publish, confirms", ("Announcer.", "Outbox.", "Confirms.")),
    ("answer, acknowledge, metrics", ("Committer._finish", "Committer._settle", "Acks.")),
    ("round: the rest", ("Committer.", "SessionWorker._round", "SessionWorker._dispatch")),
    ("read: envelope", ("InputEnvelope.from_bytes",)),
    ("read: lanes", ("SessionWorker._receive",)),
    ("read: frames", ("Wire.",)),
    ("MongoDB's client beside it, members", ("pymongo/", "Membership.")),
)
"""Parts of a worker's work, and functions that they are known by: a stack belongs to the first that it has one of."""

_OTHER: Final = "event loop, sockets"


def main() -> None:
    """Profile one backlog and print the functions that cost most."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    shape = sys.argv[2] if len(sys.argv) > 2 else "interleaved"
    with private_rabbitmq() as rabbitmq, private_mongodb() as mongodb, Load() as load:
        stacks, cpu = profile(Services(rabbitmq, mongodb, load), users, shape)
    console = Console(width=None if sys.stdout.isatty() else 180)
    parts = Table(title=f"{1e6 * cpu:.0f} us of the processor a message, {shape}")
    for heading in ("part", "share", "us a message"):
        parts.add_column(heading)
    for name, share in shares_of_parts(stacks):
        parts.add_row(name, f"{share:.1%}", f"{1e6 * cpu * share:.0f}")
    console.print(parts)
    alone, inclusive = shares(stacks)
    table = Table(title="share of the worker's time")
    for heading in ("self", "function", "with callees", "function"):
        table.add_column(heading)
    for (name, mine), (other, theirs) in zip(alone[:_SHOWN], inclusive[:_SHOWN], strict=False):
        table.add_row(f"{mine:.1%}", name, f"{theirs:.1%}", other)
    console.print(table)


def profile(services: Services, users: int, shape: str) -> tuple[str, float]:
    """Return the stacks that were seen, a line for each with its count at the end, and processor seconds a message."""
    with stage(services, AGENTBUS1) as run:
        run.start_warm()
        used = run.cpu_seconds()
        run.preload(shape=shape, name="user", users=users, each=_EACH)
        file = Path(run.folder, "stacks")
        pid = str(run.workers[0].process.pid)
        spy = str(Path(sys.executable).with_name("py-spy"))
        command = [spy, "record", "--pid", pid, "--gil", "--rate", "500", "--format", "raw", "--output", str(file)]
        with subprocess.Popen(command) as looking:
            run.until_all("user")
            used = run.cpu_seconds() - used
            looking.send_signal(signal.SIGINT)
        return file.read_text(), used / (users * _EACH)


def shares_of_parts(stacks: str) -> list[tuple[str, float]]:
    """Return the shares of the parts of the work, the largest first."""
    seen: Counter[str] = Counter()
    for line in stacks.splitlines():
        path, _, count = line.rpartition(" ")
        known = (name for name, functions in _PARTS if any(function in path for function in functions))
        seen[next(known, _OTHER)] += int(count)
    total = sum(seen.values())
    return [(name, count / total) for name, count in seen.most_common()]


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
