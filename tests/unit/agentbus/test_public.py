"""What is imported from `agentbus`, and that importing it alone stays quick."""

import subprocess
import sys

import pytest

import agentbus


def test_every_public_name_can_be_imported() -> None:
    for name in agentbus.__all__:
        assert getattr(agentbus, name).__name__ == name
    assert set(agentbus.__all__) <= set(dir(agentbus))


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        agentbus.conect  # type: ignore[attr-defined]  # noqa: B018 - it is looked up


def test_importing_agentbus_imports_no_driver() -> None:
    program = (
        "import agentbus, sys; print(*{'aio_pika', 'pydantic', 'motor', 'sqlalchemy', 'structlog'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def told_by(program: str) -> list[str]:
    """Return the words that a program prints, in a process that has imported nothing before."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


BUILT = """
import agentbus.sessions
from agentbus.contracts.base import Announced, Contract

def below(kind):
    return {kind}.union(*map(below, kind.__subclasses__()))

models = below(Announced) | below(Contract)
print(len(models), *(one.__name__ for one in models if one.__pydantic_complete__))
"""


def test_importing_the_session_library_builds_no_model() -> None:
    """But the one that pydantic needs to give annotations their parameter."""
    models, *built = told_by(BUILT)
    assert int(models) > 100
    assert set(built) <= {"Page"}


TOGETHER = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from agentbus.contracts.commands import AppendMessage
from agentbus.contracts.envelope import InputEnvelope

THREADS = 8
start = Barrier(THREADS)
append = {"kind": "append_message", "message": {"content": {"kind": "text", "text": "Hi"}}}

def read(number):
    start.wait(60)
    if number % 2:
        return AppendMessage.model_validate(append)
    return InputEnvelope.model_validate({"id": "1", "data": append}).data

with ThreadPoolExecutor(THREADS) as threads:
    print(len(set(map(repr, threads.map(read, range(THREADS))))))
"""


def test_threads_that_are_the_first_to_use_a_model_find_it_whole() -> None:
    """Pydantic before 2.14 checked by the model's parent what one thread gave it while another built it."""
    assert told_by(TOGETHER) == ["1"]
