"""`agentbus store keys` and `agentbus store encrypt`, over a folder of files."""

import asyncio
import json
from pathlib import Path

import pytest

from agentbus.storage.factory import open_store
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, appended
from tests.harness.cli import called

ONE = a_conversation("one")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of a store that something was written to in the clear."""
    url = f"file://{tmp_path}/store"

    async def fill() -> None:
        async with open_store(url) as opened:
            await opened.log.append([a_commit(ONE, events=[appended(ONE, 1, "xylophone")])])
            await opened.heads.save([a_head(ONE, data={"wants": "xylophone"})])
            await opened.parked.put(a_parked())

    asyncio.run(fill())
    monkeypatch.setenv("AGENTBUS_STORE_URL", url)
    return url


def new_key(name: str) -> str:
    done = called("store", "keys", "new", name)
    assert done.returncode == 0
    return done.stdout.strip()


@pytest.mark.usefixtures("store")
def test_a_store_is_encrypted_and_its_master_key_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "agentbus store keys new" in called("store", "keys", "list").stderr
    first, second = new_key("first"), new_key("second")
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", first)

    done = json.loads(called("store", "encrypt", "--json").stdout)

    assert done == {"commits": 1, "heads": 1, "records": 0, "archived": 0, "parked_left": 1}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert b"says xylophone" not in kept
    assert b'"wants"' not in kept
    assert "says xylophone" in called("sessions", "history", f"{ONE}.1").stdout

    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", f"{second},{first}")
    assert json.loads(called("store", "keys", "rotate", "--json").stdout) == {
        "data_keys": 3, "wrapped_anew": 3, "failed": 0, "damaged": [],
    }  # fmt: skip
    listed = json.loads(called("store", "keys", "list", "--json").stdout)["items"]
    assert [(one["name"], one["active"], one["data_keys"], one["may_be_dropped"]) for one in listed] == [
        ("first", False, 0, True),
        ("second", True, 3, False),
    ]
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", second)
    assert "says xylophone" in called("sessions", "history", f"{ONE}.1").stdout
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", first)
    refused = called("sessions", "history", f"{ONE}.1")
    assert (refused.returncode, "'second' is needed and not here" in refused.stderr) == (1, True)
    monkeypatch.delenv("AGENTBUS_ENCRYPTION_KEYS")
    assert "give its master keys by AGENTBUS_ENCRYPTION_KEYS" in called("sessions", "list").stderr


@pytest.mark.usefixtures("store")
def test_what_can_not_be_unwrapped_fails_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_key("first"), new_key("second")
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", first)
    assert called("store", "encrypt").returncode == 0
    spoiled = next(
        path for path in tmp_path.rglob("*.json") if b'"kind": "data_key"' in path.read_bytes() and ".1" in path.name
    )
    spoiled.write_text(spoiled.read_text().replace('"master": "first"', '"master": "lost"'))
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", f"{second},{first}")

    done = called("store", "keys", "rotate")

    assert done.returncode == 1
    assert "'lost' is needed" in done.stderr


def test_a_key_is_named_after_the_day() -> None:
    assert called("store", "keys", "new").stdout.startswith("k20")
    assert called("store", "keys", "new", "a b").returncode == 1
