import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentbus.contracts.messages import ButtonContent, CommandContent, UnsupportedContent
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.discord.inbound import DiscordInbound
from agentbus.workers.adapters.port import Malformed, Received, Request, Unverified
from tests.platforms.discord import ID, PUBLIC, interaction, posted, signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
INTO = DiscordInbound("mybot", DiscordAccount(public_key=PUBLIC, received="seen"))


def taken(request: Request) -> Received:
    INTO.verify(request)
    return INTO.parse(request)


def answered(received: Received) -> Any:
    assert received.answer.media_type == "application/json"
    return json.loads(received.answer.body)


def test_a_ping_is_answered_by_a_pong_and_somebody_who_is_still_typing_by_no_choices() -> None:
    ping = taken(posted({"type": 1, "id": ID}, NOON))
    typing = taken(posted(interaction(4, data={"name": "ask"}), NOON))
    assert (answered(ping), ping.messages) == ({"type": 1}, ())
    assert (answered(typing), typing.messages) == ({"type": 8, "data": {"choices": []}}, ())


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], ""),
        ([{"name": "question", "type": 3, "value": "why?"}], "why?"),
        ([{"name": "a", "value": 1}, {"name": "b", "value": True}], "a:1 b:True"),
        ([{"name": "add", "type": 1, "options": [{"name": "to", "value": "list"}]}], "add to:list"),
        ([{"name": "reset", "type": 1}], "reset"),
    ],
)
def test_a_command_with_its_options(options: list[Any], arguments: str) -> None:
    received = taken(posted(interaction(2, data={"name": "ask", "options": options}), NOON))
    [one] = received.messages

    assert one.address.model_dump(exclude_none=True) == {
        "platform": "discord",
        "account": "mybot",
        "chat": "8",
        "user": "7",
    }
    assert (one.message_id, one.sender_name) == (ID, "Annie")
    assert one.sent_at.date().isoformat() == "2025-11-27"
    assert one.content == CommandContent(name="ask", arguments=arguments)
    assert answered(received) == {"type": 4, "data": {"content": "seen", "flags": 64}}


def test_a_button_or_the_entries_of_a_menu_in_a_private_chat() -> None:
    private = {"member": None, "user": {"id": "7", "username": "ann"}, "message": {"id": "55"}}
    received = taken(posted(interaction(3, data={"custom_id": "pick", "values": ["a", "b"]}, **private), NOON))
    [one] = received.messages
    assert (one.content, one.sender_name) == (ButtonContent(data="pick a b", target="55"), "ann")
    assert answered(received) == {"type": 6}


@pytest.mark.parametrize(
    ("body", "what", "chat"),
    [
        (interaction(5, data={"custom_id": "form"}), "interaction 5", "8"),
        (interaction(2, data={"name": "ask", "options": [7]}), "interaction 2", "8"),
        (interaction(2, member=None), "interaction 2", "8"),
        (interaction(2, id="no number"), "interaction 2", "8"),
        (interaction(2, id="9" * 400), "interaction 2", "8"),
        ({}, "interaction None", "unknown"),
    ],
)
def test_what_is_not_understood_is_kept_where_it_happened_without_the_token(
    body: dict[str, Any], what: str, chat: str
) -> None:
    [one] = taken(posted(body, NOON)).messages
    assert isinstance(one.content, UnsupportedContent)
    assert (one.content.what, one.address.chat) == (what, chat)
    assert "an-interaction-token" not in one.content.raw


def test_what_is_not_signed_so_is_not_verified_and_what_is_no_json_is_malformed() -> None:
    right = posted(interaction(2), NOON)
    INTO.verify(right)
    for name, value in right.headers.items():
        for wrong in ("", value[:-1] + "g", value + "00", "é", value.upper() + "0"):
            with pytest.raises(Unverified):
                INTO.verify(Request(body=right.body, headers={**right.headers, name: wrong}, received_at=NOON))
        rest = {key: kept for key, kept in right.headers.items() if key != name}
        with pytest.raises(Unverified):
            INTO.verify(Request(body=right.body, headers=rest, received_at=NOON))
    with pytest.raises(Unverified):
        INTO.verify(signed(right.body, NOON, Ed25519PrivateKey.from_private_bytes(b"e" * 32)))
    for body in (b"", b"[]", b"\xff"):
        with pytest.raises(Malformed):
            taken(signed(body, NOON))
