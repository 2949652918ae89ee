"""`agentbus backup restore` on a distributed system: RabbitMQ, MongoDB, a session worker in a process of its own."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.backups.run import filled, same_as_in
from tests.e2e.conftest import Distributed
from tests.harness.cli import called

SESSIONS = 3


@pytest.mark.usefixtures("session_worker")
def test_sessions_come_back_through_the_workers_that_are_at_work(distributed: Distributed, tmp_path: Path) -> None:
    source, place = f"sqlite:///{tmp_path}/source.db", f"file://{tmp_path}/backups"
    asyncio.run(filled(source, SESSIONS))
    made = json.loads(called("backup", "create", "--store", source, "--to", place, "--json").stdout)

    def restored(*more: str) -> dict[str, int]:
        done = called("backup", "restore", "latest", "--to", place, "--json", *more, env=distributed.env)
        assert done.returncode == 0, done.stderr
        outcomes: dict[str, int] = json.loads(done.stdout)["outcomes"]
        return outcomes

    assert restored("--dry-run") == {"created": SESSIONS}
    assert restored() == {"created": SESSIONS}
    assert asyncio.run(same_as_in(distributed.store_url, place, made["backup_id"]))
    assert restored("--strategy", "replace") == {"same": SESSIONS}
    listed = json.loads(called("sessions", "list", "--json", env=distributed.env).stdout)["items"]
    assert len(listed) == SESSIONS
