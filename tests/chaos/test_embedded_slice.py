"""A slice of `make chaos MODE=embedded` for every test run: some faults, one seed, a mutant that has to be caught."""

from dataclasses import replace
from functools import partial
from shutil import rmtree
from types import SimpleNamespace

import pytest

from tests.chaos.campaign import Result
from tests.chaos.embedded.campaign import run_embedded, try_embedded_mutant
from tests.chaos.embedded.disks import can_be_made
from tests.chaos.embedded.faults import EMBEDDED_FAULTS, embedded_fault_named, fill_up, go_on
from tests.chaos.embedded.mutants import EmbeddedMutant
from tests.harness.failpoints import patch

_SEED = 20260101


def assert_held(result: Result) -> None:
    assert result.good, f"{result.words()}; evidence in {result.folder}"
    assert result.verdict.messages > 0
    assert result.recoveries


@pytest.mark.parametrize(
    "name", ["memory_cancelled_calls", "sqlite_kill_after_append", "sqlite_locked_3s", "files_two_programs"]
)
async def test_a_fault_loses_doubles_and_reorders_nothing(name: str) -> None:
    assert_held(await run_embedded(embedded_fault_named(name), repeats=1, seed=_SEED))


@pytest.mark.skipif(not can_be_made(), reason="only root can make a small disk")
async def test_a_full_disk_is_waited_for_and_calls_end_in_their_time_meanwhile() -> None:
    fault = embedded_fault_named("sqlite_full_disk_for_long")
    shorter = replace(fault.layout, terms=replace(fault.layout.terms, call_timeout=1.0))
    assert_held(await run_embedded(replace(fault, layout=shorter, inject=partial(fill_up, 3.0)), repeats=1, seed=_SEED))


async def test_a_program_that_returns_before_it_has_written_is_caught() -> None:
    trial = await try_embedded_mutant(EmbeddedMutant.APPEND_FIRST, seed=_SEED)
    assert "committed once" in trial.violated


async def test_a_fault_that_nobody_notices_is_no_fault() -> None:
    fault = embedded_fault_named("memory_cancelled_calls")
    calm = replace(fault.layout, terms=replace(fault.layout.terms, cancelled=0.0))
    noticed = replace(fault, layout=calm, inject=go_on, expects=frozenset({"reply_timeout"}), says="outage_began")
    result = await run_embedded(noticed, repeats=1, seed=_SEED)
    assert result.folder
    rmtree(result.folder)  # the evidence of what was asked for
    assert result.problems == [
        "no call ended with reply_timeout: was there a fault?",
        "nobody said outage_began",
    ]


def test_each_storage_has_its_faults_and_each_fault_its_name() -> None:
    names = [fault.name for fault in EMBEDDED_FAULTS]
    assert len(set(names)) == len(names)
    assert {name.partition("_")[0] for name in names} == {"memory", "sqlite", "files"}


def test_what_is_planted_where_nothing_is_called_is_an_error() -> None:
    with pytest.raises(AttributeError, match="make_store"):
        patch(SimpleNamespace(), make_store=object())
