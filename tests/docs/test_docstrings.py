"""The docstrings of the public API: examples run, every one is there, and says units and errors."""

import inspect
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import agentbus.sessions
from agentbus.contracts.errors import LockTimeout
from agentbus.sessions import SessionManager, SessionSystem
from agentbus.sessions.features import SYNC
from agentbus.sessions.sections.checkpoints import Checkpoints
from agentbus.sessions.sections.shared import Caller
from agentbus.sessions.sections.sync import Sync
from tests.docs.docstrings import Documented, documented, errors_named, examples, faults, handed_to
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
    async def carry_out(self) -> None: ...

    async def close(self) -> None:
        """Close it."""
        await self.carry_out()

    async def end(self) -> None:
        """Close it. Raises as `close` does."""
        await self.carry_out()


def _of(thing: object) -> Documented:
    return Documented("thing", thing, thing.__doc__ or "")


class Front(SessionSystem):
    async def restore(self) -> None:
        """Restore a checkpoint."""
        await self._sections.checkpoints.restore("session", "checkpoint", Caller())

    async def code(self) -> None:
        """Make a code."""
        await self._calls(SYNC).claim_code("session", 60, None)


def test_what_a_section_raises_is_said_where_it_is_called() -> None:
    assert handed_to(Front.restore) == [Checkpoints.restore]
    assert handed_to(Front.code) == [Sync.claim_code]
    assert faults(_of(Front.restore)) == [
        "it raises CheckpointNotFound, which it does not say",
        "it may be refused, and does not say with what",
    ]
    assert faults(_of(Front.code)) == ["it may be refused, and does not say with what"]


def test_every_call_of_the_manager_is_handed_to_a_section() -> None:
    calls = [one for one in vars(SessionManager).values() if inspect.isfunction(one) and one.__name__[0] != "_"]
    at_once = {call.__name__ for call in calls if not handed_to(inspect.unwrap(call))}
    assert at_once == {"health_check"}
    assert len(calls) > 50


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
