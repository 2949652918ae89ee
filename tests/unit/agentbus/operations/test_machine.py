"""State machines as people write them down, and as they are drawn."""

from pathlib import Path

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.operations.machine import drawn_machine, parsed_machine
from agentbus.workers.domain.checks.states import DEFAULT
from tests.harness.cli import called

DESK = """
[[states]]
name = "waiting"
status = "active"

[[states]]
name = "solved"
status = "closed"

[[transitions]]
sources = ["active", "solved"]
target = "closed"

[[transitions]]
sources = "active"
target = "waiting"
guard = { by = ["owner", "application"], types = ["manual"], min_age = 60, min_messages = 2, present = ["a;b\\n"] }
handler = "page"

[[transitions]]
sources = "waiting"
target = "solved"
guard = { tags = ["vip"], platforms = ["slack"], agent_ids = ["helper"], session_types = ["group"] }

[[transitions]]
sources = "waiting"
target = "solved"
handler = "thank"
"""


def test_a_machine_is_drawn_with_its_guards_and_handlers_and_what_comes_by_itself() -> None:
    drawn = drawn_machine(parsed_machine(DESK, "toml")).splitlines()
    assert drawn[:4] == [
        "stateDiagram-v2",
        "    [*] --> active",
        '    state "waiting (active)" as waiting',
        '    state "solved (closed)" as solved',
    ]
    ways = {line.strip() for line in drawn}
    asked = "[by owner or application, manual, after 60 s, after 2 messages, by data a b ] / page"
    assert {
        "active --> idle : by itself",
        "active --> closed",
        f"active --> waiting : {asked}",
        f"idle --> waiting : {asked}",
        "waiting --> expired : by itself",
        "waiting --> solved : [on slack, group, helper, tagged vip] or / thank",
        "waiting --> deleted",
        "solved --> archived : by itself",
        "solved --> closed",
        "deleted --> [*]",
    } <= ways
    assert not any(line.startswith(("waiting --> idle", "archived --> active", "active --> solved")) for line in ways)


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        ("[", "toml", "the state machine is not TOML"),
        ("{", "json", "the state machine is not JSON"),
        ("[]", "json", "the state machine: .*valid dictionary"),
        ('[[transitions]]\nsources = "active"', "toml", "transitions.0.target: Field required"),
        ('[[transitions]]\nsources = "active"\ntarget = "away"', "toml", "there is no state away"),
    ],
)
def test_a_document_that_is_no_machine_is_explained(text: str, form: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parsed_machine(text, form)  # type: ignore[arg-type]  # one of the two


def test_a_machine_is_set_shown_changed_and_taken_back(tmp_path: Path) -> None:
    env = {"AGENTBUS_STORE_URL": f"file://{tmp_path}/store"}
    written, edited = tmp_path / "desk.toml", tmp_path / "desk.json"
    written.write_text(DESK, "utf-8")
    drawn = called("tracking", "machine", "--set", str(written), env=env)
    assert drawn.stdout.strip() == drawn_machine(parsed_machine(DESK, "toml"))
    shown = called("tracking", "machine", "--json", env=env).stdout
    assert parsed_machine(shown, "json") == parsed_machine(DESK, "toml")

    edited.write_text(shown.replace('"page"', '"call"'), "utf-8")
    assert "/ call" in called("tracking", "machine", "--set", str(edited), env=env).stdout
    written.write_text("[[states]]", "utf-8")
    for wrong in (("--set", str(written)), ("--set", str(edited), "--default")):
        refused = called("tracking", "machine", *wrong, env=env)
        assert refused.returncode != 0
    assert "/ call" in called("tracking", "machine", env=env).stdout, "nothing was changed by what was refused"
    assert called("tracking", "machine", "--default", env=env).stdout.strip() == drawn_machine(DEFAULT)
