"""How a failure is told: the program's own line, whoever raised in the end; of ours alone, the way there."""

import json
import re
from types import SimpleNamespace

import pytest

import agentbus.workers.faults
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import SchemaViolation, StoreUnavailable
from agentbus.workers.faults import told


def caught(call: object, *given: object) -> dict[str, str]:
    assert callable(call)
    try:
        call(*given)
    except Exception as error:
        return told(error)
    raise AssertionError("it did not fail")


def reading(text: str) -> None:
    json.loads(text)


def test_the_programs_own_line_is_told_though_a_library_raised() -> None:
    failure = caught(reading, "what they said")
    assert failure["error"] == "json.decoder.JSONDecodeError"
    assert re.search(r"tests/unit/workers/test_faults\.py:\d+ in reading$", failure["at"])
    assert "what they said" not in str(failure)


def test_a_program_that_is_installed_among_the_packages_has_its_line_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agentbus.workers.faults, "_INSTALLED", ("/",))
    assert re.search(r"test_faults\.py:\d+ in caught$", caught(reading, "")["at"])


def test_of_a_fault_of_ours_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agentbus.workers.faults, "_OURS", ("/",))
    failure = caught(EventEnvelope.from_bytes, b"nonsense")
    assert failure["error"] == "agentbus.contracts.errors.Undecodable"
    assert re.search(
        r"test_faults\.py:\d+ in caught > agentbus/contracts/envelope\.py:\d+ in from_bytes$", failure["at"]
    )


def test_what_store_and_broker_say_is_shown_and_what_inputs_say_is_not() -> None:
    assert told(StoreUnavailable("no store at host"))["reason"] == "no store at host"
    assert "reason" not in told(SchemaViolation("text: says something"))


def test_names_that_are_not_unicode_can_be_told() -> None:
    code = SimpleNamespace(co_filename="/caf\udce9.py", co_name="handle")
    agentbus.workers.faults._place((SimpleNamespace(f_code=code), 1)).encode()  # type: ignore[arg-type]
