"""Platforms: those with a name here, and any other word that fits a routing key."""

import copy
import json
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for, is_platform
from agentbus.contracts.commands import SetData
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import StampField, next_stamp, platform_of
from agentbus.workers.bus.memory.topics import topic_matches
from tests.harness.builders import a_conversation, appended
from tests.harness.conversations import NOW, address, message
from tests.harness.linked import step

TEAMS = Platform("teams")


def test_a_platform_without_a_name_here_is_like_the_others() -> None:
    assert (TEAMS, str(TEAMS), f"{TEAMS}", TEAMS.value) == ("teams",) * 4
    assert {TEAMS, Platform("teams"), "teams"} == {"teams"}
    assert Platform("teams") == TEAMS != Platform.TELEGRAM
    assert pickle.loads(pickle.dumps(TEAMS)) == copy.deepcopy(TEAMS) == TEAMS  # noqa: S301 - our own bytes
    assert TEAMS not in list(Platform), "nothing is kept of it"


def test_those_with_a_name_stay_what_they_were() -> None:
    assert Platform("telegram") is Platform.TELEGRAM
    assert repr(Platform.TELEGRAM) == "<Platform.TELEGRAM: 'telegram'>"
    assert json.dumps({"on": Platform.TELEGRAM}) == '{"on": "telegram"}'
    assert len(Platform) == 12


def test_it_travels_and_is_read_again() -> None:
    told = message().model_copy(update={"address": Address(platform=TEAMS, chat="c", user="u")})
    body = InputEnvelope(id="1", data=told).to_bytes()
    assert json.loads(body)["data"]["address"]["platform"] == "teams"
    read = InputEnvelope.from_bytes(body)
    assert read.data == told
    assert isinstance(read.data.address, Address)
    assert isinstance(read.data.address.platform, Platform)
    assert conversation_id_for(read.data.address, Scope.PER_CHAT) == conversation_id_for(told.address, Scope.PER_CHAT)


def test_it_is_the_last_word_of_the_routing_key() -> None:
    event = appended(a_conversation("ada"), 1, "m1").model_copy(update={"platform": TEAMS})
    assert event.routing_key == "session.message.teams"
    assert topic_matches("session.*.teams", event.routing_key)


@pytest.mark.parametrize(
    "word", ["", "Teams", "ms.teams", "none", "9gag", "-x", "a b", "caf\u00e9", "x" * 33, "x\n", 5, None]
)
def test_what_does_not_fit_a_routing_key_is_refused(word: object) -> None:
    with pytest.raises(ValueError, match="not a valid Platform"):
        Platform(word)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="a lower-case word of a-z"):
        Address.model_validate({"platform": word, "chat": "c", "user": "u"})


@given(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True).filter(is_platform))
@example("ms-teams")
@example("a_2")
def test_every_platforms_writes_have_a_stamp_that_is_read_again(word: str) -> None:
    stamp = next_stamp(None, NOW, Platform(word), a_conversation("stamped"))
    assert TypeAdapter(StampField).validate_python(stamp) == stamp
    assert platform_of(stamp) == word


def test_a_session_on_any_platform_keeps_data() -> None:
    state = step(
        SessionState.empty(a_conversation("teams")),
        message().model_copy(update={"address": address(platform=Platform("ms-teams"))}),
    )
    assert step(state, SetData(values={"a": 1})).data == {"a": 1}
