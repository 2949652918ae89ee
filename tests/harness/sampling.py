"""Of what is tested on many backends, a run takes a sample that another commit takes otherwise; `--whole` takes all.

What a store or a bus does by itself is held to its contract on each of them, at each run. What stands above them does
not know which one it has: a behaviour that is tested on each of four stores says four times nearly the same. So a test
names the parameters that it is `sampled` by, and of each case of the others a run takes one value of these. Within a
folder each value has its even share.
"""

import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

import pytest

sampled: Final = pytest.mark.sampled
"""`sampled("storage")`: each case of the other parameters with one value of this one. `--whole` takes each with all.

Parameters that are given together, `("seed", "steps")`, are named together. Of a row of like cases, such as the places
where something dies, `sampled("place", each=4)` takes one of each four, from the first to the last. A class whose tests
another has as well is `sampled(each=4)`: one of each four of its tests is taken.
"""

on_all_servers: Final = pytest.mark.on_all_servers
"""Marks what costs much and says of one more server what is said of another: it is taken with `--whole` alone."""

ALL: Final = "`make conformance` takes all; so does --whole, and so does naming a file, a test or a word (-k)"

_LEFT_OUT: Final = "left_out"
"""What a process of a run of several tells how many it left out by."""

_NO_COMMIT: Final = "0"
"""The seed where there is no commit to take one from."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """What a sampled test is about."""

    suite: str
    """What the values are shared out in: each has as many of its cases, more or less one."""
    behaviour: str
    """What is not to be left out: the function and its other parameters."""
    values: tuple[tuple[str, str], ...]
    """The parameters that it is sampled by, each with its value."""


def chosen(cases: Mapping[T, Case], seed: str) -> set[T]:
    """Return one case of each behaviour, in an order of the seed's: whose values have been taken least by then."""
    behaviours: dict[tuple[str, str], list[T]] = defaultdict(list)
    for key, case in cases.items():
        behaviours[case.suite, case.behaviour].append(key)
    taken: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    found: set[T] = set()
    # Those with the fewest values to choose from come first: what is left evens it out.
    for suite, behaviour in sorted(behaviours, key=lambda at: (len(behaviours[at]), _mixed(seed, *at))):

        def cost(key: T, suite: str = suite) -> tuple[int, str]:
            case = cases[key]
            used = sum(taken[suite][value] for value in case.values)
            return used, _mixed(seed, suite, case.behaviour, str(case.values))

        best = min(behaviours[suite, behaviour], key=cost)
        taken[suite].update(cases[best].values)
        found.add(best)
    return found


def _mixed(*texts: str) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("agentbus")
    group.addoption("--whole", action="store_true", help="take all that is sampled, and what is for all servers alone")
    group.addoption("--sample", metavar="SEED", help="take the sample of this seed, in place of that of the commit")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads its seed
def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known, and the seed, which the processes of a run of several have from here."""
    config.addinivalue_line(
        "markers",
        "sampled(*parameters, each=None): of their values, or of each so many, one is taken; all with --whole",
    )
    config.addinivalue_line("markers", "on_all_servers: taken with --whole alone")
    if config.option.sample is None:
        config.option.sample = seed_of(config.rootpath)
    if os.environ.get("CI") and getattr(config.option, "hypothesis_seed", "") is None:
        config.option.hypothesis_seed = str(crc32(config.option.sample.encode()))
    if getattr(config.option, "cancel_from", None) == 0 and not config.option.whole:
        config.option.cancel_from = crc32(config.option.sample.encode())


def seed_of(folder: Path) -> str:
    """Return the short id of the commit that a folder is at, or 0 without git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return _NO_COMMIT
    return done.stdout.strip() or _NO_COMMIT


def pytest_report_header(config: pytest.Config) -> str:
    """Say which sample it is."""
    if config.getoption("--whole"):
        return "sample: none, all is taken"
    return f"sample: --sample {config.getoption('--sample')}; {ALL}"


@pytest.hookimpl(tryfirst=True)  # before they are put in order
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what the sample has not."""
    if config.getoption("--whole") or config.getoption("keyword"):
        return
    named = _named(config)
    open_ = [item for item in items if item.path not in named]
    left_out = {item for item in open_ if item.get_closest_marker(on_all_servers.name)}
    cases = cases_of(item for item in open_ if item not in left_out)
    left_out |= cases.keys() - chosen(cases, config.getoption("--sample"))
    config.stash[_COUNT] = len(left_out)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _named(config: pytest.Config) -> Collection[Path]:
    """Return the files that the run was given by name."""
    paths = (Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args)
    return {path.resolve() for path in paths if path.is_file()}


def cases_of(items: Iterable[pytest.Item]) -> dict[pytest.Item, Case]:
    """Return what the sampled ones are about. Raises UsageError if one has no such parameter, or is not to be told."""
    cases: dict[pytest.Item, Case] = {}
    known: dict[tuple[str, str], list[Any]] = defaultdict(list)
    """The values of a function's parameter that have no text of their own: they go by their place here."""
    rows: dict[tuple[str, str], dict[object, int]] = defaultdict(dict)
    """The place of each value, or of several together, among those that a case of the others has."""

    def told(function: str, name: str, value: Any) -> str:
        if value is None or isinstance(value, str | int | float | Enum):
            return str(value.value if isinstance(value, Enum) else value)
        values = known[function, name]
        if not any(one is value for one in values):
            values.append(value)
        return f"value {next(place for place, one in enumerate(values) if one is value)}"

    for item in items:
        marks = list(item.iter_markers(sampled.name))
        if not marks:
            continue
        names = {name for mark in marks for name in mark.args}
        among = next((mark.kwargs["each"] for mark in marks if "each" in mark.kwargs), None)
        parameters: Mapping[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        if not names and among is None:
            message = f"{item.nodeid} is sampled by nothing"
            raise pytest.UsageError(message)
        if missing := sorted(names - parameters.keys()):
            message = f"{item.nodeid} is sampled by {', '.join(missing)}, and has no such parameter"
            raise pytest.UsageError(message)
        function = item.nodeid.partition("[")[0]
        words = {name: told(function, name, value) for name, value in sorted(parameters.items())}
        values = tuple((name, word) for name, word in words.items() if name in names)
        others = {name: word for name, word in words.items() if name not in names}
        if not names and item.parent is not None:
            function, others, values = item.parent.nodeid, {}, (("test", item.nodeid),)
        row = rows[function, str(others)]
        place = row.setdefault(values, len(row)) // among if among else 0
        cases[item] = Case(str(item.path.parent), f"{function} {others} {place}", values)
    if len(set(cases.values())) < len(cases):
        twice = next(item for item, case in cases.items() if list(cases.values()).count(case) > 1)
        message = f"{twice.nodeid} has the parameters of another, and one of them would be lost"
        raise pytest.UsageError(message)
    return cases


_COUNT: Final = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the process that reports hear how many were left out."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_LEFT_OUT] = session.config.stash.get(_COUNT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear it: each process found the same tests, and left out the same."""
    told = getattr(node, "workeroutput", {}).get(_LEFT_OUT, 0)
    node.config.stash[_COUNT] = max(told, node.config.stash.get(_COUNT, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many were left out, and how to have them."""
    if count := config.stash.get(_COUNT, 0):
        terminalreporter.write_line(f"{count} tests are not in the sample {config.getoption('--sample')}: {ALL}")
