"""The table that `make conformance` prints: each backend's tests, by capability."""

import subprocess
import sys

import pytest
from rich.console import Console

from agentbus.testing.conformance.store_many_suite import PAGE_SECONDS
from tests.contract import test_store
from tests.contract.__main__ import CLASSES, Results, Tally, place_of, table_of, table_of_pages
from tests.harness.processes import ROOT


def test_the_program_leaves_it_to_pytest_to_load_plugins() -> None:
    loaded = (
        "import sys, tests.contract.__main__; print(*sorted({'pytest_asyncio', 'agentbus.testing'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_every_backend_of_the_contract_is_in_the_table() -> None:
    assert {name for name in vars(test_store) if name.startswith("Test")} == CLASSES.keys()


def test_a_test_counts_for_its_backend_and_its_suite(request: pytest.FixtureRequest) -> None:
    results = Results()
    results._placed = {"one": ("PostgreSQL", "log"), "two": ("PostgreSQL", "log"), "three": ("files", "all")}
    for node, when, outcome in (
        ("one", "setup", "passed"),
        ("one", "call", "passed"),
        ("two", "setup", "failed"),
        ("three", "call", "passed"),
        ("elsewhere", "call", "failed"),
    ):
        report = pytest.TestReport(node, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]  # one of the words
        report.user_properties = [(PAGE_SECONDS, 0.012)] if node == "one" and when == "call" else []
        results.pytest_runtest_logreport(report)

    assert results.of == {"PostgreSQL": {"log": Tally(passed=1, failed=1)}, "files": {"all": Tally(passed=1)}}
    with (console := Console(width=100)).capture() as told:
        console.print(table_of(results.of))
    assert "1 of 2 failed" in told.get()
    with (console := Console(width=100)).capture() as told:
        console.print(table_of_pages(results.pages))
    assert "12" in told.get()
    assert place_of(request.node) is None
