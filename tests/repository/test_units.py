"""The units of systemd: a command that exists, settings that exist, and no more rights than a worker needs."""

from pathlib import Path
from typing import Final

import pytest

from agentbus.composition.workers import WORKERS
from agentbus.settings import LogFormat, load_settings
from tests.repository.test_deploy import FILES, SETTINGS, parse_command

FOLDER: Final = Path(__file__).parents[2] / "deploy/systemd"
KINDS: Final = [kind.value for kind in WORKERS]


def read(name: str) -> dict[str, list[str]]:
    """Return what a unit says, by key; one that is given again adds to it."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


UNIT: Final = read("agentbus@.service")


def environment() -> dict[str, str]:
    return dict(one.split("=", 1) for one in UNIT["Environment"])


def test_each_kind_is_a_command_that_exists() -> None:
    for kind in KINDS:
        (command,) = UNIT["ExecStart"]
        program, *words = command.replace("%i", kind).replace("${HTTP_PORT}", environment()["HTTP_PORT"]).split()
        assert program == "/opt/agentbus/bin/agentbus"
        assert parse_command(words) == f"worker {kind}"


def test_the_target_says_how_every_kind_is_enabled() -> None:
    comments = [line for line in (FOLDER / "agentbus.target").read_text("utf-8").splitlines() if line.startswith("#")]
    named = {
        word.removeprefix("agentbus@") for line in comments for word in line.split() if word.startswith("agentbus@")
    }
    assert named == set(KINDS)
    assert UNIT["PartOf"] == UNIT["WantedBy"] == ["agentbus.target"]


def test_its_environment_is_accepted_as_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    credentials = dict(one.split(":", 1) for one in UNIT["LoadCredential"])
    given = {"amqp-url": "amqp://a:b@c/", "store-url": "mongodb://a:b@c/d"}
    assert credentials.keys() == given.keys()
    ours = {name: value for name, value in environment().items() if name != "HTTP_PORT"}
    assert ours.keys() <= SETTINGS | FILES
    for name, value in ours.items():
        if name in FILES:
            (tmp_path / Path(value).name).write_text(given[value.removeprefix("%d/")])
        monkeypatch.setenv(name, value.replace("%d", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.log.log_format is LogFormat.JSON
    assert settings.bus.broker_timeout == 120


def test_it_may_do_no_more_than_it_needs() -> None:
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "CapabilityBoundingSet": "",
        "RestrictNamespaces": "yes",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "UMask": "0077",
    }
    assert {key: UNIT[key] for key in wanted} == {key: [value] for key, value in wanted.items()}


def test_it_is_started_again_and_may_finish() -> None:
    assert (UNIT["Restart"], UNIT["KillSignal"], UNIT["Type"]) == (["always"], ["SIGTERM"], ["exec"])
    assert UNIT["StartLimitIntervalSec"] == ["0"], "a broker may be away for long"
    assert int(UNIT["TimeoutStopSec"][0]) >= 30
