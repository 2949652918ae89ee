"""Secrets stay out of announced events, log lines and settings' own words."""

import json

import pytest
import structlog

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import (
    ArchiveSession,
    CloseSession,
    CreateSession,
    ResolveConflict,
    RestoreSession,
    SetData,
    SetMetadata,
)
from agentbus.contracts.events import AnyEvent, DataSet, MetadataSet, SessionRestored, SessionStarted
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.secrets import SECRET_KEYS, without_secrets
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, Resolution
from agentbus.logs import configure_logs
from agentbus.settings import LogFormat, LogSettings, load_settings
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.disclosure import announced
from agentbus.workers.domain.evolve import evolve
from agentbus.workers.domain.sync.fields import written
from tests.harness.conversations import NOW, message
from tests.harness.linked import after as after_events
from tests.harness.linked import entry, events_of, linked, merge, stamp
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh


def only(state: SessionState, command: CreateSession | SetData | SetMetadata) -> AnyEvent:
    (event,) = decide(state, fresh(command), NOW)
    return event


def test_secrets_are_left_out_on_every_level_and_nothing_else_is() -> None:
    values = {
        "password": "x",
        "API-Key": "x",
        "apiKey": "x",
        "passwd": "x",
        "X-Api-Key": "x",
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


def test_an_object_that_held_only_a_secret_is_not_announced_as_an_empty_one() -> None:
    """It would be news: whoever is linked would take the empty object for the value."""
    values = {"auth": {"deep": {"token": "x"}}, "empty": {}, "name": {"first": "Ann", "secret": "x"}}
    event = only(LIVE, SetData(values=values))
    shown = announced(event, SECRET_KEYS)
    assert isinstance(shown, DataSet)
    assert shown.values == {"empty": {}, "name": {"first": "Ann"}}


def test_what_a_secret_replaced_is_not_announced_as_removed() -> None:
    state = after(LIVE, SetData(values={"auth": {"token": "x", "user": "ann"}}))
    event = only(state, SetData(values={"auth": {"token": "y", "user": "ann"}}))
    shown = announced(event, SECRET_KEYS)
    assert isinstance(shown, DataSet)
    assert shown.bases.keys() == {"/data/auth/user"}
    assert [(one.field, one.removed) for one in written(shown)] == [("/data/auth/user", False)]


def test_what_linked_sessions_bring_in_is_announced_without_secrets() -> None:
    state = linked("web", {"token": "mine", "city": "Oslo"})
    offered = (
        entry("/data/token", "theirs", stamp(5)),
        entry("/data/city", "Rome", stamp(5)),
        entry("/data/list", [{"password": "x", "name": "kept"}], stamp(5)),
    )
    (merged,) = events_of(state, merge(*offered))
    brought, opened = events_of(state, merge(*offered, strategy=ConflictStrategy.MANUAL))
    conflicted = after_events(state, [brought, opened])
    (resolved,) = events_of(conflicted, ResolveConflict(resolution=Resolution(take_offered=True)))
    priority = merge(*offered, strategy=ConflictStrategy.SOURCE_PRIORITY, priority=(Platform.WEB,))
    (kept,) = events_of(state, priority)
    for event in (merged, brought, opened, resolved, kept):
        wire = announced(event, SECRET_KEYS).model_dump_json()
        assert not any(secret in wire for secret in ("mine", "theirs", '"x"')), event.kind
        assert "Rome" in wire or "Oslo" in wire or "kept" in wire, event.kind
    assert conflicted.data["list"] == [{"password": "x", "name": "kept"}]


def test_a_restored_session_is_announced_without_secrets() -> None:
    state = after(linked("web", {"token": "x", "city": "Oslo"}), CloseSession())
    ref = ArchiveRef(url="memory://a", digest="0" * 64, sequence=state.sequence, messages=0, at=NOW)
    archived = after(state, ArchiveSession(archive=ref))
    command = RestoreSession(status=SessionStatus.ACTIVE, digest="0" * 64, data=state.data, stamps=state.stamps)
    (event,) = events_of(archived, command)
    shown = announced(event, SECRET_KEYS)
    assert isinstance(shown, SessionRestored)
    assert (shown.data, shown.stamps) == ({"city": "Oslo"}, state.stamps)


def test_conflicts_that_are_open_again_are_announced_without_secrets() -> None:
    state = linked("web", {"token": "mine", "city": "Oslo"})
    offered = entry("/data/token", "theirs", stamp(5)), entry("/data/city", "Rome", stamp(5))
    conflicted = after_events(state, events_of(state, merge(*offered, strategy=ConflictStrategy.MANUAL)))
    assert len(conflicted.conflicts) == 2
    ended = after(conflicted, CloseSession())
    ref = ArchiveRef(url="memory://a", digest="0" * 64, sequence=ended.sequence, messages=0, at=NOW)
    archived = after(ended, ArchiveSession(archive=ref))
    (event,) = events_of(
        archived, RestoreSession(status=SessionStatus.CLOSED, digest="0" * 64, conflicts=conflicted.conflicts)
    )
    assert after_events(archived, [event]).conflicts == conflicted.conflicts
    wire = announced(event, SECRET_KEYS).model_dump_json()
    assert not any(secret in wire for secret in ("mine", "theirs"))
    assert "Rome" in wire


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
