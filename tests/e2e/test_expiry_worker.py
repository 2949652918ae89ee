"""Expiry as processes: rules from a file, workers that are killed, the archive, the figures."""

import json
import time
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program, running_worker

USERS = 12

RULES = """
[[rules]]
rule_id = "silent"
name = "Silent for long"
strategy = "activity"
conditions = { idle_for = 3 }
actions = ["notify", { action = "archive", after = 1 }]
warn_before = 1
"""


def shown(env: dict[str, str], *arguments: str) -> Any:
    done = called(*arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counted(env: dict[str, str]) -> dict[str, int]:
    total: dict[str, int] = shown(env, "expiry", "stats")["total"]
    return total


def test_sessions_go_to_the_archive_whichever_worker_is_killed(
    distributed: Distributed, session_worker: Program, tmp_path: Path
) -> None:
    env = distributed.env | {"AGENTBUS_ARCHIVE_URL": (tmp_path / "archive").as_uri()}
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    assert "silent" in called("expiry", "rules", "add", str(rules), env=env).stdout
    assert shown(env, "expiry", "rules", "list")["items"][0]["rule_id"] == "silent"
    called("expiry", "rules", "disable", "silent", env=env)
    for number in range(USERS):
        assert called("publish", "hello", "--user", f"user-{number}", env=env).returncode == 0
    _until(lambda: len(shown(env, "sessions", "list")["items"]) == USERS, session_worker)
    time.sleep(4)  # real processes by the machine's clock: everybody is silent for long enough
    assert shown(env, "expiry", "run", "--dry-run")["items"] == []
    called("expiry", "rules", "enable", "silent", env=env)
    due = shown(env, "expiry", "run", "--dry-run")["items"]
    assert {(one["rule"], one["action"], one["outcome"]) for one in due} == {("silent", "warn", "would be done")}
    assert len(due) == USERS

    with running_worker("expiry", folder=tmp_path, env=env) as first:
        _until(lambda: counted(env).get("warned", 0) > 0, first)
        with running_worker("expiry", folder=tmp_path, env=env) as second:
            first.kill()
            expected = {"warned": USERS, "notified": USERS, "archived": USERS}
            _until(lambda: counted(env) == expected, second)
            _until(lambda: len(shown(env, "archive", "list")["items"]) == USERS, second)
            assert second.stop() == 0
    _until(lambda: {one["status"] for one in shown(env, "sessions", "list")["items"]} == {"archived"}, session_worker)
    assert shown(env, "parked", "list")["items"] == []


def _until(holds: Any, program: Program) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, program.output()
        time.sleep(0.5)
