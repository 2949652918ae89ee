"""`agentbus erase` on a distributed system: RabbitMQ, MongoDB, a session worker in a process of its own."""

import json
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.erasures import everything_in_database
from tests.harness.patience import PATIENCE

USER, WORD = "ada-4711", "xylophone"


@pytest.mark.usefixtures("session_worker")
def test_no_byte_of_an_erased_user_is_left_and_old_messages_stay_away(distributed: Distributed, tmp_path: Path) -> None:
    env = distributed.env | {"AGENTBUS_ARCHIVE_URL": f"file://{tmp_path}/archive"}
    said = ("publish", f"my {WORD}", "--user", USER, "--message-id", "m1", "--json")
    assert called(*said, env=env).returncode == 0
    assert called("publish", "hello", "--user", "bob-0815", env=env).returncode == 0
    for user in (USER, "bob-0815"):
        until_listed(env, user)
    assert USER.encode() in everything_in_database(distributed.store_url)
    done = called("erase", USER, "--yes", "--json", env=env)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert (len(receipt["sessions"]), receipt["messages"]) == (1, 1)
    assert called(*said, env=env).returncode == 0
    assert called("publish", "after it", "--user", USER, "--message-id", "m2", env=env).returncode == 0
    deadline = time.monotonic() + PATIENCE
    while b"after it" not in everything_in_database(distributed.store_url):
        assert time.monotonic() < deadline, "the new message was never committed"
        time.sleep(0.1)
    left = everything_in_database(distributed.store_url)
    assert WORD.encode() not in left
    assert b"bob-0815" in left


def until_listed(env: dict[str, str], user: str) -> None:
    """Wait until what a user said is committed, and its session is found."""
    deadline = time.monotonic() + PATIENCE
    while not json.loads(called("sessions", "list", "--user", user, "--json", env=env).stdout)["items"]:
        assert time.monotonic() < deadline, f"the message of {user} was never committed"
        time.sleep(0.1)
