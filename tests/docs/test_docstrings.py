"""The docstrings of the public API: examples run, every one is there, and says units and errors."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

import agentbus.sessions
from contracts.errors import LockTimeout
from tests.docs.docstrings import Documented, documented, errors_named, examples, faults
from tests.docs.markdown import Block
from tests.docs.running import execute, whole_agentbus

EXAMPLES = [pytest.param(block, id=f"{name}-{block}") for name, block in examples() if block.not_run is None]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with whole_agentbus(monkeypatch) as seen, capture_logs() as logs:
        execute(block.text)
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    assert bool(seen.committed) == ("connect(" in block.text)
    assert bool(seen.handled) == (".on(" in block.text)


def test_there_are_examples_to_run() -> None:
    names = {name for name, _ in examples()}
    assert {"agentbus.client", "agentbus.sessions"} <= names
    assert len(EXAMPLES) == len(examples())


def test_docstrings_are_complete() -> None:
    found = {one.name: faults(one) for one in documented()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert len(found) > 150


def test_the_errors_that_calls_raise_are_exported_where_the_calls_are() -> None:
    exported = set(agentbus.sessions.__all__)
    calls = [one for one in documented() if one.name.startswith("agentbus.sessions.") and ".engine." not in one.name]
    named = {name for one in calls for name in errors_named(one)}
    assert named - exported == set()
    assert len(named) > 15


async def wait(timeout: float = 1.0) -> None:
    """Wait"""  # noqa: D400 - that is what is found
    raise LockTimeout(f"{timeout}")


class Manager:
    async def _command(self) -> None: ...

    async def close(self) -> None:
        """Close it."""
        await self._command()

    async def end(self) -> None:
        """Close it. Raises as `close` does."""
        await self._command()


def _of(thing: object) -> Documented:
    return Documented("thing", thing, thing.__doc__ or "")


def test_errors_are_found_by_their_names() -> None:
    assert errors_named(Documented("thing", None, "It raises LockLost, `StoreError`; a Lock is no error.")) == {
        "LockLost",
        "StoreError",
    }


def test_what_is_missing_is_found() -> None:
    assert faults(_of(wait)) == [
        "its first paragraph does not end with a full stop",
        "timeout: in seconds, which it does not say",
        "it raises LockTimeout, which it does not say",
    ]
    assert faults(_of(Manager.close)) == ["it may be refused, and does not say with what"]
    assert faults(_of(Manager.end)) == []
    assert faults(_of(Manager)) == ["there is no docstring"]
