"""Measuring appends: block by block, every way in turn, so that all see the machine equally busy."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.library.contenders import Contender
from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT, Program, running_worker
from tests.harness.program import say
from tests.harness.stores import PLACES
from tests.harness.usage import cpu_seconds
from tests.services import MongoDB, RabbitMQ, RedisServer

_SHOWN: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rounds: int
    """Blocks of each way, in turn; each begins a session of its own."""
    block: int
    """Messages measured together."""
    history: int
    """Messages of the long session that as many are added to, beside the new one."""
    both: int
    """Messages that each of two writers adds to one session."""


FULL: Final = Sizes(rounds=9, block=100, history=5_000, both=200)
QUICK: Final = Sizes(rounds=3, block=30, history=300, both=40)


@dataclass(slots=True)
class Found:
    """What was measured of one way."""

    durability: str = ""
    fresh: list[list[float]] = field(default_factory=list)
    """Milliseconds of each append to a new session, block by block."""
    long: list[list[float]] = field(default_factory=list)
    """The same to the long one."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time of an append in each block, of the program and, over a broker, of the worker: no server's."""
    kept: int | None = None
    """Of the messages of two writers; None: no two processes can use it."""
    in_order: bool = True
    """Whether those of each writer that were kept are in the order in which it added them."""
    missing: str = ""
    """Why nothing was measured."""


class Asked:
    """A way to append, in a process that is asked."""

    def __init__(self, process: "subprocess.Popen[str]", worker: Program | None, errors: Path) -> None:
        self._process = process
        self._worker = worker
        self._errors = errors
        self.durability: str = self._read()["durability"]

    def say(self, session: str, texts: Sequence[str]) -> tuple[list[float], float]:
        """Append texts to a session; return the milliseconds of each and the processor time of all."""
        before = self._worker_ms()
        answer = self._ask({"session": session, "say": list(texts)})
        return answer["ms"], answer["cpu_ms"] + self._worker_ms() - before

    def texts(self, session: str) -> list[str]:
        """Return the texts of a session."""
        found: list[str] = self._ask({"texts": session})["texts"]
        return found

    def _worker_ms(self) -> float:
        return 1000 * cpu_seconds([self._worker.process.pid]) if self._worker else 0.0

    def _ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise Unavailable(self._errors.read_text("utf-8", errors="replace")[-_SHOWN:])
        answer: dict[str, Any] = json.loads(line)
        return answer


class Unavailable(Exception):
    """A way can't be used here: its process ended, and said why."""


@dataclass(frozen=True)
class Stage:
    """What the ways need: servers, a folder, and the others' environment."""

    folder: Path
    python: Path
    rabbitmq: RabbitMQ | None = None
    mongodb: MongoDB | None = None
    redis: RedisServer | None = None

    @contextmanager
    def opened(self, contender: Contender, writers: int) -> Iterator[list[Asked]]:
        """Start processes that append in a way, all to one empty store."""
        with ExitStack() as stack:
            folder = self.folder / f"{contender.name}-{writers}"
            folder.mkdir()
            place = self._place(contender, folder, stack)
            worker: Program | None = None
            broker: tuple[str, ...] = ()
            if contender.distributed:
                assert self.rabbitmq
                amqp_url = stack.enter_context(self.rabbitmq.fresh_vhost())
                env = {"AGENTBUS_AMQP_URL": amqp_url, "AGENTBUS_STORE_URL": place}
                worker = stack.enter_context(running_worker("session", folder=folder, env=env))
                broker = (amqp_url,)
            names = () if contender.theirs is None else (contender.theirs,)
            where = place if contender.theirs is None else place.removeprefix("sqlite:///")
            command = (str(self._program(contender)), "-m", f"tests.benchmarks.library.{_module(contender)}")
            yield [
                stack.enter_context(_asked((*command, *names, where, *broker), worker, folder / f"{number}.errors"))
                for number in range(writers)
            ]

    def _program(self, contender: Contender) -> Path:
        return self.python if contender.theirs else Path(sys.executable)

    def _place(self, contender: Contender, folder: Path, stack: ExitStack) -> str:
        if contender.store in PLACES:
            return PLACES[contender.store](folder)
        server = {"mongodb": self.mongodb, "redis": self.redis}[contender.store]
        assert server
        return stack.enter_context(server.fresh_database())


def _module(contender: Contender) -> str:
    return "ours" if contender.theirs is None else "others"


@contextmanager
def _asked(command: Sequence[str], worker: Program | None, errors: Path) -> Iterator[Asked]:
    with errors.open("wb") as complaints:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
    try:
        yield Asked(process, worker, errors)
        assert process.stdin
        process.stdin.close()  # which ends it
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def measure(contenders: Sequence[Contender], sizes: Sizes, stage: Stage) -> dict[str, Found]:
    """Measure all ways; return what was found by their names."""
    found = {one.name: Found() for one in contenders}
    with ExitStack() as stack:
        asked: dict[str, Asked] = {}
        for one in contenders:
            say(f"library: a history of {sizes.history:,} by {one.name} ...")
            try:
                asked[one.name] = _grown(one, sizes, stage, stack)
            except Unavailable as error:
                found[one.name].missing = str(error).strip().splitlines()[-1]
        for number in range(sizes.rounds):
            say(f"library: round {number + 1} of {sizes.rounds} ...")
            turn = number % len(asked)
            for name in [*asked][turn:] + [*asked][:turn]:
                _one_round(asked[name], found[name], number, sizes)
    for one in contenders:
        if one.name in asked and one.store != "memory":
            say(f"library: two writers by {one.name} ...")
            _two_writers(one, sizes, stage, found[one.name])
    return found


def _grown(contender: Contender, sizes: Sizes, stage: Stage, stack: ExitStack) -> Asked:
    [asked] = stack.enter_context(stage.opened(contender, 1))
    asked.say("long", [f"earlier message {number}" for number in range(sizes.history)])
    return asked


def _one_round(asked: Asked, found: Found, number: int, sizes: Sizes) -> None:
    found.durability = asked.durability
    texts = [f"message {number} of {sizes.block}: how is the weather?" for number in range(sizes.block)]
    asked.say(f"fresh-{number}", ["hello"])  # begins the session, where that is a step of its own
    took, cpu_ms = asked.say(f"fresh-{number}", texts)
    found.fresh.append(took)
    found.cpu_ms.append(cpu_ms / sizes.block)
    found.long.append(asked.say("long", texts)[0])


def _two_writers(contender: Contender, sizes: Sizes, stage: Stage, found: Found) -> None:
    with stage.opened(contender, 2) as both, ThreadPoolExecutor(2) as threads:
        both[0].say("both", ["begun"])
        said = [[f"{writer} {number}" for number in range(sizes.both)] for writer in range(2)]
        for done in [threads.submit(one.say, "both", texts) for one, texts in zip(both, said, strict=True)]:
            done.result()
        kept = both[0].texts("both")[1:]
    found.kept = len(set(kept))
    found.in_order = all([text for text in kept if text in set(texts)] == _kept_of(kept, texts) for texts in said)


def _kept_of(kept: Sequence[str], texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text in set(kept)]
