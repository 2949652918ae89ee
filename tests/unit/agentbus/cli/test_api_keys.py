"""`agentbus api-keys`, over a folder of files."""

import json
from pathlib import Path

from tests.harness.cli import called


def test_a_key_is_made_listed_and_revoked_and_shown_this_once(tmp_path: Path) -> None:
    env = {"AGENTBUS_STORE_URL": f"file://{tmp_path}/store"}
    made = called("api-keys", "create", "website", "--role", "read", "--role", "publish", "--days", "1", env=env)
    assert (made.returncode, made.stderr.count("publish, read")) == (0, 1)
    key = made.stdout.strip()
    key_id = key.split("_")[1]
    told = json.loads(called("api-keys", "create", "x", "--role", "admin", "--json", env=env).stdout)
    assert (told["roles"], told["expires_at"]) == (["admin"], None)
    assert told["key"].startswith(f"ab_{told['key_id']}_")

    revoked = called("api-keys", "revoke", key_id, env=env)
    assert revoked.stdout == f"{key_id} (website) is revoked\n"
    assert json.loads(called("api-keys", "revoke", key_id, "--json", env=env).stdout)["revoked_at"]

    listed = called("api-keys", "list", "--json", env=env).stdout
    items = {one["key_id"]: one for one in json.loads(listed)["items"]}
    assert items.keys() == {key_id, told["key_id"]}
    assert [items[key_id]["revoked_at"] is None, items[told["key_id"]]["revoked_at"] is None] == [False, True]
    assert key not in listed
    assert not any(key.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_can_not_be_is_said(tmp_path: Path) -> None:
    env = {"AGENTBUS_STORE_URL": f"file://{tmp_path}/store"}
    assert called("api-keys", "create", "x", env=env).returncode == 2
    assert called("api-keys", "create", "x", "--role", "king", env=env).returncode == 2
    unnamed = called("api-keys", "create", "", "--role", "read", env=env)
    assert (unnamed.returncode, "schema_violation" in unnamed.stderr) == (1, True)
    missing = called("api-keys", "revoke", "nothing", env=env)
    assert (missing.returncode, "api_key_not_found" in missing.stderr) == (1, True)
