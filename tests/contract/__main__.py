"""`python -m tests.contract`: hold stores and buses to their contracts, on real servers; print what stores can do."""

import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from rich.table import Table

from tests.harness.program import screen

SUITES: Final = Path(__file__).parent

CLASSES: Final = {
    "TestMemory": "memory",
    "TestEncryptedMemory": "memory, encrypted",
    "TestEncryptedSqlite": "SQLite, encrypted",
    "TestFiles": "files",
    "TestSqlite": "SQLite",
    "TestPostgreSQL": "PostgreSQL",
    "TestMariaDB": "MariaDB",
    "TestMariaDBCancelled": "MariaDB",
    "TestFilesShared": "files",
    "TestMongoShared": "MongoDB (PyMongo)",
    "TestRedis": "Redis",
    "TestRedisShared": "Redis",
    "TestRedisCluster": "Redis Cluster",
    "TestMongoThroughMotor": "MongoDB (motor)",
    "TestMongoThroughMotorRest": "MongoDB (motor)",
    "TestMongoThroughPyMongo": "MongoDB (PyMongo)",
}
"""The backend of each class of tests in test_store.py."""

KINDS: Final = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "redis": "Redis"}
"""The backend of each `kind` that tests have as a parameter."""

FILES: Final = {
    "test_store_sqlite.py": "SQLite",
    "test_store_files.py": "files",
    "test_store_redis.py": "Redis",
    "test_store_redis_cluster.py": "Redis Cluster",
    "test_store_mongo_damage.py": "MongoDB (PyMongo)",
    "test_store_mongo_plans.py": "MongoDB (PyMongo)",
}
"""The backend of each file of tests of one alone."""

OWN: Final = "its own"
"""The capability of what one backend alone is tested for."""


class Tally(Counter[str]):
    """How many tests ended how: `passed`, `failed`."""

    def told(self) -> str:
        """Return it in words."""
        failed = self.total() - self["passed"]
        return f"{failed} of {self.total()} failed" if failed else f"{self['passed']}"


class Results:
    """A plugin of pytest that adds up what became of each backend's tests, by capability."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
        self.pages: dict[str, dict[str, float]] = defaultdict(dict)
        """What a page of many took, the median, in seconds: by what was paged."""
        self._placed: dict[str, tuple[str, str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note of each test which backend and which capability it is about."""
        self._placed = {item.nodeid: placed for item in session.items if (placed := place_of(item))}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that has ended, or that failed before or after."""
        # Not before: pytest has to load the plugins that it imports.
        from agentbus.testing.conformance.store_many_suite import PAGE_SECONDS  # noqa: PLC0415 - as above

        if report.nodeid in self._placed and (report.when == "call" or report.failed):
            backend, capability = self._placed[report.nodeid]
            self.of[backend][capability][report.outcome] += 1
            for seconds in (value for name, value in report.user_properties if name == PAGE_SECONDS):
                self.pages[backend][report.nodeid.rpartition("::test_")[2].replace("_", " ")] = float(str(seconds))


def place_of(item: pytest.Item) -> tuple[str, str] | None:
    """Return the backend and the capability that a test is about; None if it is about several at once."""
    if not isinstance(item, pytest.Function):
        return None
    if item.cls is not None and item.cls.__name__ in CLASSES:
        suite = next(kind for kind in item.cls.__mro__ if item.originalname in vars(kind))
        name = suite.__name__.removeprefix("Durable").removeprefix("Store").removesuffix("Suite").lower()
        return CLASSES[item.cls.__name__], name or "all"
    kind = item.callspec.params.get("kind") if hasattr(item, "callspec") else None
    backend = KINDS.get(str(kind)) or FILES.get(item.path.name)
    return (backend, OWN) if backend else None


def table_of(results: Mapping[str, Mapping[str, Tally]]) -> Table:
    """Return capability x backend x result: how many tests passed, or how many of how many failed."""
    capabilities = dict.fromkeys(name for of_backend in results.values() for name in of_backend)
    table = Table("", *results, title="Tests passed, by capability and backend")
    for name in capabilities:
        told = (tallies[name].told() if name in tallies else "-" for tallies in results.values())
        table.add_row(name, *told)
    return table


def table_of_pages(pages: Mapping[str, Mapping[str, float]]) -> Table:
    """Return what a page of up to 1,000 took on each backend."""
    paged = dict.fromkeys(name for of_backend in pages.values() for name in of_backend)
    table = Table("", *pages, title="A page, the median, in milliseconds")
    for name in paged:
        table.add_row(name, *(f"{1000 * of[name]:.0f}" if name in of else "-" for of in pages.values()))
    return table


def _files() -> Iterator[str]:
    yield from sorted(str(path) for kind in ("store", "bus") for path in SUITES.glob(f"test_{kind}*.py"))
    yield str(SUITES.parent / "property" / "test_store_agreement.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites; return pytest's exit code."""
    results = Results()
    given = sys.argv[1:] if arguments is None else list(arguments)
    many = [] if "--many" in given else ["--many", "100000", "--page-budget", "1"]
    code = pytest.main(["-q", "--whole", *many, *_files(), *given], plugins=[results])
    screen().print(table_of(results.of))
    screen().print(table_of_pages(results.pages))
    return int(code)


if __name__ == "__main__":
    # A test that SystemExit came to would be one that failed, and the next would begin.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
