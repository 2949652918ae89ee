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
