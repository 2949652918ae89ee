"""Settings: from the environment, an `.env` file and what is given, in this order of growing weight."""

from pathlib import Path

import pytest
import structlog
from pydantic import BaseModel

from agentbus.cli.running import settings_of
from agentbus.contracts.address import Scope
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.topology import Topology
from agentbus.sessions.config import make_config
from agentbus.settings import (
    CONCERNS,
    LogFormat,
    load_settings,
    settings_table,
    unknown_variables,
)
from agentbus.variables import ENV_PREFIX, UnknownVariable

NAMES = [name for concern in CONCERNS for name in concern.model_fields]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder without an `.env` file, with none of the variables set."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    return tmp_path


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.bus.topology == Topology()
    assert settings.store.store_url == "mongodb://localhost:27017/agentbus"
    assert settings.session.scope is Scope.PER_CHAT_USER
    assert settings.log.log_format is LogFormat.CONSOLE


def test_what_is_given_goes_before_the_environment_and_that_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("AGENTBUS_PREFIX=file\nAGENTBUS_PARTITIONS=2\nAGENTBUS_HEARTBEAT=7\nOTHERS=1\n")
    monkeypatch.setenv("AGENTBUS_PREFIX", "environment")
    monkeypatch.setenv("AGENTBUS_PARTITIONS", "3")
    bus = load_settings(prefix="given", partitions=None).bus
    assert (bus.prefix, bus.partitions, bus.heartbeat) == ("given", 3, 7)


@pytest.mark.parametrize("concern", CONCERNS)
def test_a_concern_that_the_environment_does_not_name_is_as_if_it_had_been_looked_for(concern: type[BaseModel]) -> None:
    (mine,) = (one for one in vars(load_settings(store_url="memory://")).values() if type(one) is concern)
    given = {"store_url": "memory://"} if "store_url" in concern.model_fields else {}
    assert mine == concern(**given)
    assert mine.model_fields_set == given.keys()


def test_a_variable_is_read_however_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("agentbus_partitions", "5")
    (folder / ".env").write_text("AgentBus_Log_Format=json\n")
    settings = load_settings()
    assert (settings.bus.partitions, settings.log.log_format) == (5, LogFormat.JSON)


def test_a_setting_goes_to_its_concern_alone() -> None:
    settings = load_settings(scope="main", log_format="json", store_url="memory://", amqp_url="memory://")
    assert settings.session.scope is Scope.MAIN
    assert settings.log.log_format is LogFormat.JSON
    assert settings.store.store_url == settings.bus.amqp_url == "memory://"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partitions", "0"),
        ("partitions", "many"),
        ("prefix", "Not.A.Word"),
        ("broker_timeout", "-1"),
        ("scope", "per_planet"),
        ("mongo_driver", "mongoose"),
        ("log_level", "loud"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"{ENV_PREFIX}{name.upper()}"
    with pytest.raises(ConfigurationError, match=variable):
        load_settings(**{name: value})
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        load_settings()


def test_all_wrong_values_of_a_concern_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"AGENTBUS_PARTITIONS: .*; AGENTBUS_HEARTBEAT: "):
        load_settings(partitions=0, heartbeat=0)


POLICIES = '[{"words": ["/new"], "idle_minutes": 60}, {"daily_hour": 4, "time_zone": "Europe/Berlin"}]'


def test_reset_policies_are_a_list_in_json_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().session.reset_policies == ()
    expected = (ResetPolicy(words=("/new",), idle_minutes=60), ResetPolicy(daily_hour=4, time_zone="Europe/Berlin"))
    assert load_settings(reset_policies=POLICIES).session.reset_policies == expected
    assert load_settings(reset_policies=expected).session.reset_policies == expected
    monkeypatch.setenv("AGENTBUS_RESET_POLICIES", POLICIES)
    assert load_settings().session.reset_policies == expected
    monkeypatch.setenv("AGENTBUS_RESET_POLICIES", "")
    assert load_settings().session.reset_policies == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("4", "AGENTBUS_RESET_POLICIES: Input should be a valid tuple"),
        ("[{", "AGENTBUS_RESET_POLICIES: .*not JSON: .*line 1 column 3"),
        ("daily", "AGENTBUS_RESET_POLICIES: .*line 1 column 1"),
        ('[{}, {"daily_hour": 24}]', "AGENTBUS_RESET_POLICIES: 1.daily_hour: .*less than or equal to 23"),
        ('[{"time_zone": "Mars/Olympus"}]', "AGENTBUS_RESET_POLICIES: 0.time_zone: .*no time zone 'Mars/Olympus'"),
        ('[{"time_zone": "../etc/passwd"}]', "AGENTBUS_RESET_POLICIES: 0.time_zone: .*no time zone"),
        ('[{"idle_minutes": 0}]', "AGENTBUS_RESET_POLICIES: 0.idle_minutes: .*greater than 0"),
        ('[{"idle": 5}]', "AGENTBUS_RESET_POLICIES: 0.idle: Extra inputs"),
    ],
)
def test_a_wrong_reset_policy_is_told_by_its_place(value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_settings(reset_policies=value)
    monkeypatch.setenv("AGENTBUS_RESET_POLICIES", value)
    with pytest.raises(ConfigurationError, match=told):
        load_settings()


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no such setting: colour, size"):
        load_settings(size=1, colour="red", prefix="right")


def test_a_wrong_setting_does_not_tell_its_value() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(amqp_url=["amqp://user:hunter2@host/"])
    assert "hunter2" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    settings = load_settings(amqp_url="amqp://user:hunter2@host/", store_url="mongodb://user:hunter2@host/db")
    assert "hunter2" not in repr(settings)


def test_the_table_has_a_line_for_each_setting() -> None:
    head, rule, *lines = settings_table().splitlines()
    assert (head, rule) == ("| variable | default | meaning |", "|---|---|---|")
    assert [line.split("`")[1] for line in lines] == [f"{ENV_PREFIX}{name.upper()}" for name in NAMES]
    assert "| `AGENTBUS_LOG_FORMAT` | `console` | `console` for people, `json` for machines. |" in lines
    assert all(line.count(" | ") == 2 and not line.endswith(" None |") for line in lines)


def test_every_setting_has_a_name_of_its_own_and_a_description() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for concern in CONCERNS:
        assert all(field.description for field in concern.model_fields.values())


def test_a_variable_that_nothing_reads_is_named_with_the_nearest_known_one(folder: Path) -> None:
    (folder / ".env").write_text("AGENTBUS_SCOPES=main\nOTHERS=1\n")
    given = {
        "AGENTBUS_AMPQ_URL": "x",
        "AGENTBUS_PREFIX": "x",
        "AGENTBUS_AMQP_URL_FILE": "x",
        "agentbus_scope": "x",
        "AGENTBUS_SESSIONS_IDLE_TIMEOUT": "1",
        "AGENTBUS_QQQQQQQQ": "x",
        "PATH": "x",
    }
    assert unknown_variables(given) == [
        UnknownVariable("AGENTBUS_AMPQ_URL", "AGENTBUS_AMQP_URL"),
        UnknownVariable("AGENTBUS_QQQQQQQQ", None),
        UnknownVariable("AGENTBUS_SCOPES", "AGENTBUS_SCOPE"),
    ]


def test_a_command_names_it_and_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AGENTBUS_PARTITION", "8")
    settings_of()
    structlog.reset_defaults()
    assert "nothing reads the variable AGENTBUS_PARTITION: did you mean AGENTBUS_PARTITIONS?" in capsys.readouterr().err


def test_what_is_secret_may_be_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "amqp").write_text("amqp://user:hunter2@file/\n")
    monkeypatch.setenv("AGENTBUS_AMQP_URL_FILE", str(folder / "amqp"))
    assert load_settings().bus.amqp_url == "amqp://user:hunter2@file/"
    monkeypatch.setenv("AGENTBUS_AMQP_URL", "amqp://environment/")
    assert load_settings().bus.amqp_url == "amqp://environment/"
    assert load_settings(amqp_url="amqp://given/").bus.amqp_url == "amqp://given/"


def test_a_file_that_is_missing_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_CLAIM_SECRET_FILE", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"AGENTBUS_CLAIM_SECRET_FILE: /nowhere can't be read"):
        load_settings()


def test_a_session_systems_configuration_does_not_show_passwords() -> None:
    url = "mongodb://user:hunter2@host/db"
    config = make_config(storage_config={"url": url}, amqp_url="amqp://user:hunter2@host/", archive_dir=url)
    assert "hunter2" not in repr(config)


def test_a_setting_that_is_wrong_a_thousand_times_is_told_in_few_words() -> None:
    with pytest.raises(ConfigurationError, match=r"AGENTBUS_RESET_POLICIES: .* and \d+ more") as wrong:
        load_settings(reset_policies="[" + ",".join("1" * 1000) + "]")
    assert len(str(wrong.value)) < 5_000
