"""The deployment files name settings, commands and files that exist, and keep to themselves what they should."""

import re
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own
from prometheus_client import CollectorRegistry

from agentbus.composition.probes import probes_app
from agentbus.composition.workers import WORKERS as KINDS
from agentbus.settings import CONCERNS, LogFormat, load_settings
from agentbus.variables import ENV_PREFIX, FILE_SUFFIX
from tests.harness.cli import whole_command_line

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = tuple(name for name, service in SERVICES.items() if service["image"] == "agentbus:dev")
SCALED = tuple(name for name in WORKERS if "ports" not in SERVICES[name])
SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for concern in CONCERNS for name in concern.model_fields}
FILES = {
    f"{ENV_PREFIX}{name.upper()}{FILE_SUFFIX}"
    for concern in CONCERNS
    for name, field in concern.model_fields.items()
    if not field.repr
}
"""Variables that name the file of something secret."""
PORT = "9464"

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SUBSTITUTED = re.compile(r"\$\{(\w+):-([^}]*)\}")


def named_in(text: str) -> set[str]:
    """Return the variables of ours that a text names."""
    return {name for name in re.findall(r"\bAGENTBUS_[A-Z_]+", text) if not name.endswith("_")}


def set_up(folder: Path) -> Path:
    """Make passwords as whoever starts it does."""
    subprocess.run(["sh", str(ROOT / "deploy/setup.sh"), str(folder)], check=True, capture_output=True, timeout=30)
    return folder


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in found]


def stages() -> list[list[tuple[str, str]]]:
    """Return the Dockerfile's instructions by stage, each beginning with its FROM."""
    result: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            result.append([])
        result[-1].append((name, rest))
    return result


@cache
def command_line() -> Any:
    return whole_command_line()


def parse_command(words: list[str]) -> str:
    """Parse a command line as the program does, without running it; return the command's name, and a worker's."""
    command: Any = command_line()
    names: list[str] = []
    while hasattr(command, "commands"):
        names.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(names[-1], list(words))
    return " ".join([*names, *context.params.get("names", ())])


def ignored(path: str) -> bool:
    """Tell whether .dockerignore keeps a path at the top out of the build: the last rule that matches counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        rule = line.strip()
        if rule and not rule.startswith("#") and PurePosixPath(path).match(rule.removeprefix("!")):
            out = not rule.startswith("!")
    return out


def test_the_environment_holds_settings_that_exist() -> None:
    text = (ROOT / "deploy/compose.yaml").read_text("utf-8")
    assert named_in(text)
    assert named_in(text) <= SETTINGS | FILES


def test_the_environment_is_accepted_as_settings(tmp_path: Path) -> None:
    folder = set_up(tmp_path / "secrets")
    for worker in WORKERS:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.chdir(tmp_path)
            check_environment(worker, folder, monkeypatch)


def check_environment(worker: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES[worker]["environment"].items():
        given = SUBSTITUTED.sub(lambda found: found[2], value)
        if name.endswith(FILE_SUFFIX):
            given = str(folder / PurePosixPath(COMPOSE["secrets"][PurePosixPath(given).name]["file"]).name)
        monkeypatch.setenv(name, given)
    settings = load_settings()
    assert settings.log.log_format is LogFormat.JSON
    assert settings.bus.broker_timeout == 120
    assert settings.bus.amqp_url.endswith("@rabbitmq:5672/")
    assert settings.store.store_url.startswith("mongodb://agentbus:")


def test_there_is_a_service_for_every_kind_of_worker() -> None:
    assert set(WORKERS) == {kind.value for kind in KINDS}


def test_no_password_is_known_beforehand() -> None:
    variables = {name for service in SERVICES.values() for name in dict(service.get("environment") or {})}
    secret = {name for name in variables if re.search("PASS|SECRET|KEY|AMQP_URL|STORE_URL|CHANNELS", name)}
    assert len(secret) >= 5
    assert {name for name in secret if not name.endswith(FILE_SUFFIX)} == set()
    files = [one["file"] for part in ("secrets", "configs") for one in COMPOSE[part].values()]
    assert {str(PurePosixPath(file).parent) for file in files} == {"secrets"}
    assert any(line == "deploy/secrets/" for line in (ROOT / ".gitignore").read_text("utf-8").splitlines())


def test_what_a_service_is_told_by_a_file_is_made(tmp_path: Path) -> None:
    made = {one.name for one in set_up(tmp_path / "secrets").iterdir()}
    named = {PurePosixPath(one["file"]).name for part in ("secrets", "configs") for one in COMPOSE[part].values()}
    assert named <= made
    for service in SERVICES.values():
        given = {one if isinstance(one, str) else one["source"] for one in service.get("secrets", ())}
        asked = {str(value) for value in dict(service.get("environment") or {}).values()}
        files = {PurePosixPath(value).name for value in asked if value.startswith("/run/secrets/")}
        assert files <= given <= COMPOSE["secrets"].keys()


def test_publishers_and_workers_agree_on_partitions_and_scope() -> None:
    for name in ("AGENTBUS_PARTITIONS", "AGENTBUS_SCOPE", "AGENTBUS_AMQP_URL_FILE"):
        assert len({SERVICES[worker]["environment"][name] for worker in WORKERS}) == 1


def test_a_worker_runs_a_command_that_exists() -> None:
    for worker in WORKERS:
        assert parse_command(SERVICES[worker]["command"]) == f"worker {worker}"


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(KeyError):
        parse_command(["janitor"])
    with pytest.raises(Exception, match=f"no worker: there are {', '.join(KINDS)}, all"):
        parse_command(["worker", "janitor"])
    with pytest.raises(Exception, match="No such option"):
        parse_command(["worker", "ingress", "--no-such-option", "1"])


def test_the_probe_asks_where_the_worker_answers() -> None:
    for worker in WORKERS:
        command = SERVICES[worker]["command"]
        assert command[command.index("--http-port") + 1] == PORT
        assert command[command.index("--http-host") + 1] == "0.0.0.0"  # noqa: S104 - Prometheus is another container
        probe = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", SERVICES[worker]["healthcheck"]["test"][-1])
        assert probe is not None
        paths = {getattr(route, "path", None) for route in probes_app({}, CollectorRegistry()).routes}
        assert probe[1] == PORT
        assert probe[2] in paths, "every kind of worker serves it"


def test_prometheus_asks_the_workers() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (jobs,) = [job["dns_sd_configs"] for job in config["scrape_configs"] if job["job_name"] == "agentbus"]
    assert {name for job in jobs for name in job["names"]} == set(WORKERS)
    assert {str(job["port"]) for job in jobs} == {PORT}


def test_images_have_a_tag_that_stays_what_it_is() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    for image in images:
        _, colon, tag = image.partition(":")
        assert colon, f"{image} has no tag"
        assert not tag.startswith("latest")


def test_ports_are_open_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    for port in published:
        assert isinstance(port, str)
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port


def test_a_worker_can_be_scaled() -> None:
    """Two containers can share neither a name nor a published port. Those that others call are put behind a proxy."""
    for worker in SCALED:
        assert {"session", "ingress", "outbound"} <= set(SCALED)
        assert not {"container_name", "hostname", "ports"} & SERVICES[worker].keys()


def test_a_worker_has_no_more_rights_than_it_needs() -> None:
    for worker in WORKERS:
        service = SERVICES[worker]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("privileged")


def test_a_worker_waits_for_services_that_tell_their_health() -> None:
    for worker in WORKERS:
        for name, condition in SERVICES[worker]["depends_on"].items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[name]


def test_what_is_kept_is_kept_on_named_volumes() -> None:
    mounted = {str(volume).split(":", 1)[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    named = {name for name in mounted if not name.startswith(".")}
    assert {"rabbitmq-data", "mongo-data", "backups"} <= named
    assert named == set(COMPOSE["volumes"])
    for path in mounted - named:
        assert (ROOT / "deploy" / path).exists()


def test_the_image_is_built_in_one_stage_and_run_in_another() -> None:
    build, last = stages()
    copied = [rest for name, rest in last if name == "COPY"]
    assert copied
    assert all(rest.startswith("--from=build ") for rest in copied), "the last stage takes nothing but what was built"
    assert re.search(r"\bAS build$", build[0][1], re.IGNORECASE)
    assert not [rest for name, rest in last if name == "RUN" and "pip" in rest]


def test_the_image_does_not_run_as_root() -> None:
    users = [rest for name, rest in stages()[-1] if name == "USER"]
    assert users
    user, _, group = users[-1].partition(":")
    assert user.isdigit(), "by number: an orchestrator can't look up names"
    assert int(user) > 0
    assert int(group) > 0


def test_what_is_installed_is_checked_against_hashes() -> None:
    runs = " && ".join(rest for name, rest in instructions() if name == "RUN")
    installs = [step for step in runs.split("&&") if re.search(r"\bpip\b.*\binstall\b", step)]
    assert installs
    for step in installs:
        built_here = "--no-deps" in step and "/dist/" in step
        assert "--require-hashes" in step or built_here, step


def test_the_build_names_no_registry() -> None:
    for name in ("Dockerfile", "requirements/runtime.txt", "requirements/dev.txt"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?://|index-url|trusted-host|find-links", text), name


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    sources = [source for name, rest in stages()[0] if name == "COPY" for source in rest.split()[:-1]]
    assert {"agentbus/", "pyproject.toml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert not ignored(source.rstrip("/"))


@pytest.mark.parametrize("path", [".git", ".venv", ".services", ".env", "tests", "deploy", ".mypy_cache"])
def test_what_the_image_does_not_need_stays_out_of_the_build(path: str) -> None:
    assert ignored(path)


def test_the_image_starts_the_program() -> None:
    last = dict(stages()[-1])
    assert last["ENTRYPOINT"] == '["agentbus"]'
    assert last["STOPSIGNAL"] == "SIGTERM"
