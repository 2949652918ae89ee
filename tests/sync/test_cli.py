"""`agentbus identity` and `agentbus sync` where they need no worker."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agentbus.cli import app
from agentbus.cli.output import out
from agentbus.sessions import SessionSystem, SyncMode, SyncPolicy
from agentbus.sessions.config import make_config

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 200)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def sessions(db: Path) -> list[str]:
    """Make two linked sessions, and two that may be one person's."""
    return asyncio.run(_people(db))


async def _people(db: Path) -> list[str]:
    config = make_config(
        storage_type="DATABASE",
        storage_config={"db_path": str(db)},
        enable_sync=True,
        enable_cleanup=False,
        partitions=4,
    )
    async with SessionSystem(config) as system:
        await system.set_sync_policy(SyncPolicy(mode=SyncMode.MANUAL))
        made = [await system.create_session("chat", "ann", platform) for platform in ("telegram", "slack")]
        ids = [one.session_id for one in made]
        await system.link_identities("ann", ids, "Ann")
        for platform in ("telegram", "slack"):
            await system.create_session("chat", "bob", platform, metadata={"handle": "bob"})
        while not await system.suggest_links():
            await asyncio.sleep(0.01)
    return [*ids]


@pytest.fixture
def call(db: Path) -> Call:
    def run(*arguments: str, fails: bool = False) -> Result:
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, "--store", f"sqlite:///{db}"])
        assert (done.exit_code != 0) is fails, done.output
        return done

    return run


def test_what_is_linked_is_shown(sessions: list[str], call: Call) -> None:
    shown = json.loads(call("identity", "show", "ann", "--json").stdout)
    assert (shown["display_name"], set(shown["session_ids"])) == ("Ann", set(sessions))
    assert json.loads(call("identity", "show", "--session", sessions[0], "--json").stdout) == shown
    assert "Ann" in call("identity", "show", "ann").stdout
    call("identity", "show", fails=True)
    assert "no session is linked" in call("identity", "show", "nobody", fails=True).output
    assert "there is no session" in call("identity", "show", "--session", "nonsense", fails=True).output


def test_a_code_is_made(sessions: list[str], call: Call) -> None:
    made = json.loads(call("identity", "code", sessions[0], "--minutes", "1", "--json").stdout)
    assert (len(made["code"]), made["session_id"]) == (29, sessions[0])
    assert call("identity", "code", sessions[0]).stdout.count("-") >= 5
    call("identity", "code", "a" * 26 + ".1", fails=True)


@pytest.mark.usefixtures("sessions")
def test_suggestions_are_listed_and_dismissed(call: Call) -> None:
    (suggestion,) = json.loads(call("identity", "suggestions", "--json").stdout)["items"]
    assert suggestion["same"] == "handle"
    assert suggestion["id"] in call("identity", "suggestions").stdout
    call("identity", "confirm", suggestion["id"], "--dismiss")
    assert "No suggestions" in call("identity", "suggestions").output
    call("identity", "confirm", suggestion["id"], "--dismiss", fails=True)


def test_the_history_is_shown(sessions: list[str], call: Call) -> None:
    notes = json.loads(call("sync", "history", "--identity", "ann", "--limit", "1", "--json").stdout)
    assert [note["action"] for note in notes["items"]] == ["identity_linked"]
    rest = json.loads(call("sync", "history", "--identity", "ann", "--cursor", notes["cursor"], "--json").stdout)
    assert len(rest["items"]) == 1
    assert "identity linked" in call("sync", "history", "--session", sessions[0]).stdout
    call("sync", "history", fails=True)
    call("sync", "history", "--identity", "ann", "--cursor", "nonsense", fails=True)


@pytest.mark.usefixtures("sessions")
def test_there_may_be_no_conflicts(call: Call) -> None:
    assert "No open conflicts" in call("sync", "conflicts").output
    call("sync", "conflicts", "--cursor", "nonsense", fails=True)


@pytest.mark.usefixtures("sessions")
def test_a_policy_is_shown_changed_and_removed(call: Call) -> None:
    assert json.loads(call("sync", "policy", "--json").stdout)["mode"] == "manual"
    changed = json.loads(
        call("sync", "policy", "--identity", "ann", "--mode", "batch", "--data", "a*", "--data", "b", "--json").stdout
    )
    assert (changed["mode"], changed["data"], changed["strategy"]) == ("batch", ["a*", "b"], "latest_wins")
    assert json.loads(call("sync", "policy", "--identity", "ann", "--history", "--json").stdout) == {
        **changed,
        "history": True,
    }
    assert "delay" in call("sync", "policy", "--identity", "ann", "--delay", "-1", fails=True).output
    assert json.loads(call("sync", "policy", "--identity", "ann", "--remove", "--json").stdout)["mode"] == "manual"
    assert "mode" in call("sync", "policy").stdout


@pytest.mark.parametrize("ways", [(), ("--strategy", "manual"), ("--strategy", "merge", "--take", "held")])
def test_it_is_said_how_to_resolve(call: Call, ways: tuple[str, ...]) -> None:
    assert "--take" in call("sync", "resolve", "a" * 26 + ".1", *ways, fails=True).output
