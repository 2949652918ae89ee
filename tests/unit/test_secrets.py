"""Secrets stay out of announced events, log lines and settings' own words."""

import json

import pytest
import structlog

from agentbus.logs import configure_logs
from agentbus.settings import LogFormat, LogSettings, load_settings
from contracts.commands import CreateSession, SetData, SetMetadata
from contracts.events import AnyEvent, DataSet, MetadataSet, SessionStarted
from contracts.secrets import SECRET_KEYS, without_secrets
from contracts.session import SessionState
from tests.conversations import NOW, message
from tests.unit.test_domain_decide import EMPTY, LIVE, fresh
from workers.domain.announcing import announced
from workers.domain.decide import decide
from workers.domain.evolve import evolve


def only(state: SessionState, command: CreateSession | SetData | SetMetadata) -> AnyEvent:
    (event,) = decide(state, fresh(command), NOW)
    return event


def test_secrets_are_left_out_on_every_level_and_nothing_else_is() -> None:
    values = {
        "password": "x",
        "API-Key": "x",
        "passwords": "kept",
        "deep": {"Token": "x", "list": [{"secret": "x", "name": "kept"}], "number": 1},
    }
    assert without_secrets(values) == {
        "passwords": "kept",
        "deep": {"list": [{"name": "kept"}], "number": 1},
    }


def test_other_keys_can_be_secrets() -> None:
    assert without_secrets({"pin": 1, "token": 2}, ("pin",)) == {"token": 2}


def test_what_is_announced_has_no_secrets_and_what_is_kept_has() -> None:
    secret = {"token": "x", "step": 1}
    data, metadata = only(LIVE, SetData(values=secret)), only(LIVE, SetMetadata(values=secret))
    started = only(EMPTY, CreateSession(data=secret, metadata=secret))
    for event in (data, metadata):
        shown = announced(event, SECRET_KEYS)
        assert isinstance(shown, DataSet | MetadataSet)
        assert shown.values == {"step": 1}
    shown = announced(started, SECRET_KEYS)
    assert isinstance(shown, SessionStarted)
    assert (shown.data, shown.metadata) == ({"step": 1}, {"step": 1})
    assert shown.event_id == started.event_id
    assert evolve(LIVE, data).data == LIVE.data | secret


def test_a_message_is_announced_as_it_is() -> None:
    (event,) = decide(LIVE, fresh(message(2, "my token is token")), NOW)
    assert announced(event, SECRET_KEYS) is event


def test_a_log_line_has_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(log_format=LogFormat.JSON))
    structlog.get_logger("test").info("connected", api_key="x", options={"password": "x", "port": 1})
    structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["options"]) == ("connected", {"port": 1})
    assert "api_key" not in line


def test_the_keys_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().session.secret_keys == SECRET_KEYS
    monkeypatch.setenv("AGENTBUS_SECRET_KEYS", "pin, cvc")
    assert load_settings().session.secret_keys == ("pin", "cvc")
