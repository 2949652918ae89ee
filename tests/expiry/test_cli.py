"""`agentbus expiry`: rules, a look at what is due, what was done."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from agentbus.cli.app import app
from agentbus.cli.output import err, out

RULE: dict[str, Any] = {
    "rule_id": "old",
    "name": "Too old",
    "strategy": "time",
    "conditions": {"max_age": 0.001},
    "actions": ["notify", {"action": "expire", "after": 60}],
    "priority": 3,
}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AGENTBUS_STORE_URL", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.setenv("AGENTBUS_AMQP_URL", "memory://")
    monkeypatch.setattr(out, "width", 200)
    monkeypatch.setattr(err, "width", 200)

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout if "--json" in arguments else done.output

    yield run
    structlog.reset_defaults()  # the commands' logs go to a stream that is closed by now


def test_rules_are_added_listed_switched_and_removed(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([RULE, RULE | {"rule_id": "older", "priority": 5}]))
    assert "No rules" in cli("expiry", "rules", "list")
    assert "2 rules added" in cli("expiry", "rules", "add", str(file))
    items = json.loads(cli("expiry", "rules", "list", "--json"))["items"]
    assert [one["rule_id"] for one in items] == ["older", "old"]
    assert "notify, then expire after 60 s" in cli("expiry", "rules", "list")
    assert "disabled" in cli("expiry", "rules", "disable", "old")
    assert "enabled" in cli("expiry", "rules", "enable", "older")
    items = json.loads(cli("expiry", "rules", "list", "--json"))["items"]
    assert [one["enabled"] for one in items] == [True, False]
    cli("expiry", "rules", "remove", "old")
    for command in ("remove", "enable", "disable"):
        assert "no expiry rule 'old'" in cli("expiry", "rules", command, "old", code=1)


def test_a_file_with_a_wrong_rule_adds_none(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([RULE, RULE | {"rule_id": "bad", "actions": []}]))
    assert "'bad'" in cli("expiry", "rules", "add", str(file), code=1)
    assert "No rules" in cli("expiry", "rules", "list")
    toml = tmp_path / "rules.toml"
    toml.write_text("= no")
    assert "TOML" in cli("expiry", "rules", "add", str(toml), code=1)


def test_nothing_is_due_and_nothing_was_done(cli: Any) -> None:
    assert "Nothing is due" in cli("expiry", "run", "--dry-run")
    assert "did anything" in cli("expiry", "stats")
    assert json.loads(cli("expiry", "stats", "--json")) == {"rules": {}, "total": {}}
