"""The decorator that gives commands the options of broker, store and archive."""

import pytest
import typer
from typer.testing import CliRunner

from agentbus.cli import options
from agentbus.cli.connecting import Given, connecting
from agentbus.cli.output import out
from agentbus.contracts.errors import StoreUnavailable
from agentbus.operations.paging import InvalidCursor
from agentbus.settings import Settings

app = typer.Typer()


@app.command("both", no_args_is_help=True)
@connecting("store", "prefix", "wait", wait=7.0)
async def both(
    word: str, *, settings: Settings, cursor: options.Cursor = None, as_json: options.AsJson = False
) -> None:
    """Say what it was given."""
    if cursor:
        raise InvalidCursor("not a cursor of this store")
    if word == "down":
        raise StoreUnavailable("nobody answers")
    shown = (word, settings.store.store_url, settings.bus.prefix, settings.store.store_timeout, as_json)
    out.print(*shown, markup=False)


@app.command("own")
@connecting("amqp", "store")
async def own(*, given: Given) -> None:
    """Decide by itself."""
    out.print(sorted(given.items()), markup=False)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_command_gets_the_settings_that_its_options_come_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_STORE_URL", "memory://")
    assert said("both", "x") == "x memory:// agentbus 7.0 False"
    assert said("both", "x", "--store", "sqlite:///x.db", "--prefix", "ours", "--wait", "2", "--json") == (
        "x sqlite:///x.db ours 2.0 True"
    )
    assert said("both", "x", "-o", "json").endswith("True")


def test_a_command_may_decide_what_holds_where_nothing_was_given() -> None:
    assert said("own", "--store", "memory://") == "[('amqp_url', None), ('store_url', 'memory://')]"


def test_its_options_stand_where_its_settings_do_and_wait_after_a_page_s() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    names = [one.name for one in command.commands["both"].params]
    assert names == ["word", "store", "prefix", "cursor", "wait", "as_json", "_output", "help"][: len(names)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("both", "x", "--cursor", "!"), 2, "--cursor: not a cursor of this store"),
        (("both", "down"), 1, "error (store_unavailable) nobody answers"),
        (("both", "x", "--prefix", "9"), 1, "AGENTBUS_PREFIX"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
