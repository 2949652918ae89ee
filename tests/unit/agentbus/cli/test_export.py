"""`agentbus backup restore`, `export` and `import` of what that wrote, on stores of this machine."""

import asyncio
import json
from pathlib import Path

import pytest

from agentbus.sessions import DatabaseSessionStore, Message
from tests.harness.cli import called


@pytest.fixture
def session(tmp_path: Path) -> str:
    """Return a session in a store."""

    async def fill() -> str:
        async with DatabaseSessionStore(tmp_path / "sessions.db") as store:
            made = await store.create(chat_id="chat", user_id="ann", platform="web", custom_data={"step": 1})
            made.add_message(Message(content="hello", user_id="ann"))
            await store.update(made)
            return made.session_id

    return asyncio.run(fill())


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "AGENTBUS_STORE_URL": f"sqlite:///{tmp_path}/sessions.db",
        "AGENTBUS_BACKUP_URL": f"file://{tmp_path}/backups",
        "AGENTBUS_BACKUP_KEY": "k" * 32,
    }


@pytest.mark.usefixtures("session")
def test_a_backup_is_restored_to_an_empty_store_and_to_its_own(env: dict[str, str], tmp_path: Path) -> None:
    assert called("backup", "create", env=env).returncode == 0
    other = f"sqlite:///{tmp_path}/other.db"
    dry = called("backup", "restore", "latest", "--store", other, "--dry-run", "--json", env=env)
    assert dry.returncode == 0, dry.stderr
    told = json.loads(dry.stdout)
    assert told["outcomes"] == {"created": 1}
    done = called("backup", "restore", "latest", "--store", other, "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == told | {"dry_run": False, "epoch": 1}
    digests = [
        json.loads(called("store", "info", url, "--json", env=env).stdout)["digest"]
        for url in (env["AGENTBUS_STORE_URL"], other)
    ]
    assert digests[0] == digests[1]
    # There nobody is at work: this process is the sessions' owner.
    again = called("backup", "restore", "latest", "--strategy", "replace", env=env)
    assert again.returncode == 0, again.stderr
    assert "1 same" in again.stderr


@pytest.mark.usefixtures("session")
def test_a_damaged_backup_is_not_restored(env: dict[str, str], tmp_path: Path) -> None:
    called("backup", "create", env=env)
    for file in (tmp_path / "backups" / "files").rglob("*.json"):
        file.write_bytes(file.read_bytes()[:-1])
    other = f"sqlite:///{tmp_path}/other.db"
    refused = called("backup", "restore", "latest", "--store", other, env=env)
    assert refused.returncode == 1
    assert "nothing was restored" in refused.stderr
    assert json.loads(called("store", "info", other, "--json", env=env).stdout)["sessions"] == 0


@pytest.mark.parametrize("form", ["json_zst", "pickle_gz"])
def test_a_session_is_exported_and_imported(env: dict[str, str], session: str, tmp_path: Path, form: str) -> None:
    path = tmp_path / "it"
    exported = called("export", session, "--format", form, "--file", str(path), "--json", env=env)
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["path"] == str(path)
    other = tmp_path / "it.json"
    assert called("export", str(path), "--format", "json", "--file", str(other), env=env).returncode == 0
    assert json.loads(other.read_text().splitlines()[0])["session_id"] == session
    store = f"sqlite:///{tmp_path}/other.db"
    imported = called("import", str(path), "--store", store, "--json", env=env)
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout) == {"session_id": session, "outcome": "created", "reason": ""}
    assert "without --dry-run" in called("import", str(path), "--dry-run", env=env).stderr
