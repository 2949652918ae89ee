"""Commands are imported when they are called, and the list of them says what they say themselves."""

import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from agentbus.cli.app import Commands, app
from agentbus.cli.lazy import CommandAt, LazyGroup


@pytest.mark.parametrize(("name", "where"), Commands.places.items(), ids=Commands.places)
def test_the_list_says_what_the_command_says(name: str, where: CommandAt) -> None:
    command = where.load(name)
    assert where.help == (command.help or "").split("\n\n")[0].replace("\n", " ")
    assert isinstance(command, TyperGroup) == (where.settings is None)


def test_listing_them_imports_none() -> None:
    listing = "import sys; from agentbus.cli import main; sys.argv = ['agentbus', '--help']\ntry: main()\n"
    ours = "one.startswith(('agentbus.storage', 'agentbus.workers'))"
    counting = f"except SystemExit: print([one for one in sys.modules if {ours}])"
    done = subprocess.run([sys.executable, "-c", listing + counting], capture_output=True, text=True, check=True)
    assert "Erase a user" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_help_errors_and_completion_are_those_of_the_command() -> None:
    told = CliRunner().invoke(app, ["archive", "list", "--help"])
    assert (told.exit_code, "--cursor" in told.output) == (0, True)
    told = CliRunner().invoke(app, ["archive", "lost"])
    assert (told.exit_code, "No such command 'lost'" in told.output) == (2, True)
    told = CliRunner().invoke(app, ["publsh"])
    assert (told.exit_code, "publish" in told.output) == (2, True)
    asked = {"_AGENTBUS_COMPLETE": "complete_bash", "COMP_WORDS": "agentbus archive ve", "COMP_CWORD": "2"}
    told = CliRunner().invoke(app, [], prog_name="agentbus", env=asked)
    assert told.output.split() == ["verify"]


def test_one_that_is_not_there_fails_when_it_is_called() -> None:
    class Gone(LazyGroup):
        places = {
            "gone": CommandAt("agentbus.cli.gone", "Not there.", {}),
            "here": CommandAt("agentbus.cli.demo", "", {}),
        }

    broken = typer.Typer(cls=Gone, callback=lambda: None)
    assert "Not there." in CliRunner().invoke(broken, ["--help"]).output
    assert isinstance(CliRunner().invoke(broken, ["gone"]).exception, ModuleNotFoundError)
    assert isinstance(CliRunner().invoke(broken, ["here"]).exception, AttributeError)
