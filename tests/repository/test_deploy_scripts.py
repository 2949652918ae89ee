"""What the deployment files run inside containers, run here with the programs that they call replaced."""

import os
import re
import shutil
import subprocess
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own
from packaging.requirements import Requirement

from tests.harness.processes import ROOT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
MONGO: Final = SERVICES["mongo"]


def interpolated(value: str, **environment: str) -> str:
    """Put variables, or their defaults, where compose would; `$$` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match["name"], match["default"])

    return re.sub(r"\$\$|\$\{(?P<name>\w+):-(?P<default>[^}]*)\}", replace, value)


def run(command: list[str], folder: Path, replaced: str, **env: str) -> list[str]:
    """Run a script in which the program `replaced` only tells its arguments; return them."""
    program = folder / replaced
    program.write_text(f"#!{shutil.which('bash')}\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={"PATH": path, **env}, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split("\0")[:-1]


def test_mongodb_is_started_with_a_key_that_is_made_once(tmp_path: Path) -> None:
    command = [*MONGO["entrypoint"], interpolated(MONGO["command"][0]).replace("/data/configdb", str(tmp_path))]
    key = tmp_path / "keyfile"
    started = ["mongod", "--replSet", "agentbus", "--keyFile", str(key), "--bind_ip_all"]
    assert run(command, tmp_path, "docker-entrypoint.sh") == started
    made = key.read_bytes()
    assert re.fullmatch(rb"[A-Za-z0-9+/]{6,1024}", made), "what MongoDB takes for a key"
    assert key.stat().st_mode & 0o077 == 0
    assert run(command, tmp_path, "docker-entrypoint.sh") == started
    assert key.read_bytes() == made


def test_mongodb_is_made_a_replica_set_by_its_healthcheck(tmp_path: Path) -> None:
    credentials = {"MONGO_INITDB_ROOT_USERNAME": "me", "MONGO_INITDB_ROOT_PASSWORD": "a b"}
    kind, script = MONGO["healthcheck"]["test"]
    *options, code = run(["sh", "-c", interpolated(script)], tmp_path, "mongosh", **credentials)
    assert kind == "CMD-SHELL"
    assert options == ["--quiet", "--username", "me", "--password", "a b", "--eval"]
    assert 'rs.initiate({_id: "agentbus", members: [{_id: 0, host: "mongo:27017"}]})' in code
    assert "replicaSet=agentbus" in SERVICES["session-worker"]["environment"]["AGENTBUS_STORE_URL"]


@pytest.mark.parametrize("given", [{}, {"RABBITMQ_PASSWORD": "rabbit1", "MONGO_USER": "me", "MONGO_PASSWORD": "m1"}])
@pytest.mark.parametrize(
    ("url", "service", "user", "password"),
    [
        ("AGENTBUS_AMQP_URL", "rabbitmq", "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"),
        ("AGENTBUS_STORE_URL", "mongo", "MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD"),
    ],
)
def test_workers_log_in_with_what_a_server_was_given(
    url: str, service: str, user: str, password: str, given: dict[str, str]
) -> None:
    parts = urlsplit(interpolated(SERVICES["session-worker"]["environment"][url], **given))
    server = SERVICES[service]["environment"]
    assert parts.hostname == service
    assert parts.username == interpolated(server[user], **given)
    assert parts.password == interpolated(server[password], **given)


def test_probes_are_python() -> None:
    for worker in ("ingress", "session-worker"):
        *words, code = SERVICES[worker]["healthcheck"]["test"]
        assert words == ["CMD", "python", "-c"]
        compile(code, "healthcheck", "exec")


def test_every_service_is_started_again_and_may_finish() -> None:
    for service in SERVICES.values():
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service
    for worker in ("ingress", "session-worker"):
        assert SERVICES[worker]["init"] is True, "as process 1 it would not take SIGTERM before it is set up"
        assert int(SERVICES[worker]["stop_grace_period"].removesuffix("s")) >= 30


def test_the_build_backend_comes_with_all_that_it_needs() -> None:
    """The Dockerfile takes it out of the lock by name: with hashes, a name that is missing would fail the build."""
    listed = re.search(r"\^\(([\w|-]+)\)==", (ROOT / "Dockerfile").read_text("utf-8"))
    assert listed
    needed, left = set[str](), ["hatchling"]
    while left:
        name = left.pop()
        needed.add(name)
        wanted = [Requirement(text) for text in requires(name) or []]
        left += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]
        left = [name for name in left if name not in needed]
    assert needed <= set(listed[1].split("|"))
    locked = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    assert all(re.search(rf"^{name}==", locked, re.MULTILINE) for name in needed)
