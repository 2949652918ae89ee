"""What the deployment files run inside containers, run here with the programs that they call replaced."""

import os
import re
import shutil
import subprocess
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own
from packaging.requirements import Requirement

from tests.harness.processes import ROOT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
MONGO: Final = SERVICES["mongo"]
WORKERS: Final = [name for name, service in SERVICES.items() if service["image"] == "agentbus:dev"]


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
    (tmp_path / "mongo_password").write_text("a b")
    kind, script = MONGO["healthcheck"]["test"]
    script = interpolated(script).replace("/run/secrets", str(tmp_path))
    *options, code = run(["sh", "-c", script], tmp_path, "mongosh", MONGO_INITDB_ROOT_USERNAME="me")
    assert kind == "CMD-SHELL"
    assert options == ["--quiet", "--username", "me", "--password", "a b", "--eval"]
    assert 'rs.initiate({_id: "agentbus", members: [{_id: 0, host: "mongo:27017"}]})' in code


def set_up(folder: Path, *, path: str = os.environ["PATH"]) -> "subprocess.CompletedProcess[str]":
    command = [str(shutil.which("sh")), str(ROOT / "deploy" / "setup.sh"), str(folder)]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=30)


def test_passwords_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    made: list[dict[str, str]] = []
    for folder in (tmp_path / "one", tmp_path / "one", tmp_path / "other"):
        done = set_up(folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert folder.stat().st_mode & 0o077 == 0
        made.append({file.name: file.read_text() for file in folder.iterdir()})
        assert not any(text in done.stdout for name, text in made[-1].items() if name.endswith("_password"))
    once, again, elsewhere = made
    assert once == again
    passwords = {name: text for name, text in once.items() if name.endswith("_password")}
    assert len(set(passwords.values()) | {elsewhere[name] for name in passwords}) == 6
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in passwords.values())


def test_no_password_is_made_of_nothing(tmp_path: Path) -> None:
    """What makes them up is missing here: a password that is empty would be one that everybody knows."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "mkdir", "chmod", "cat", "mv", "tr"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = set_up(tmp_path / "secrets", path=str(programs))
    assert done.returncode != 0
    assert "nothing came for rabbitmq_password" in done.stderr
    assert not [one for one in (tmp_path / "secrets").iterdir() if not one.name.startswith(".")]


def test_workers_log_in_with_what_a_server_was_given(tmp_path: Path) -> None:
    set_up(tmp_path)
    store, broker = (urlsplit((tmp_path / name).read_text()) for name in ("store_url", "amqp_url"))
    assert (store.hostname, broker.hostname) == ("mongo", "rabbitmq")
    assert store.username == MONGO["environment"]["MONGO_INITDB_ROOT_USERNAME"]
    assert store.password == (tmp_path / "mongo_password").read_text()
    assert "replicaSet=agentbus" in store.query
    said = dict(line.split(" = ") for line in (tmp_path / "rabbitmq.conf").read_text().splitlines())
    assert said == {"default_user": broker.username, "default_pass": broker.password}


def test_probes_are_python() -> None:
    for worker in WORKERS:
        *words, code = SERVICES[worker]["healthcheck"]["test"]
        assert words == ["CMD", "python", "-c"]
        compile(code, "healthcheck", "exec")


def test_every_service_is_started_again_and_may_finish() -> None:
    for service in SERVICES.values():
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service
    for worker in WORKERS:
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
