"""Signatures, held to what the platforms themselves publish: their examples, and Slack's SDK.

The fake platforms of tests/platforms sign by code of their own, from the documentation; so they are an oracle too.
"""

from datetime import UTC, datetime
from random import Random

import pytest
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from agentbus.workers.adapters.feishu.account import FeishuAccount
from agentbus.workers.adapters.feishu.inbound import FeishuInbound
from agentbus.workers.adapters.port import Malformed, Request, Unverified
from agentbus.workers.adapters.slack.account import SlackAccount
from agentbus.workers.adapters.slack.inbound import SlackInbound
from agentbus.workers.adapters.webhook.account import WebhookAccount
from agentbus.workers.adapters.webhook.inbound import WebhookInbound
from tests.platforms import slack

NOON = datetime(2025, 11, 27, 12, tzinfo=UTC)
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # noqa: S105 - Slack's example
COUNT = 1000


def is_taken(inbound: SlackInbound | WebhookInbound, request: Request) -> bool:
    try:
        inbound.verify(request)
    except Unverified:
        return False
    return True


def test_slack_s_example_is_verified() -> None:
    """Source: https://docs.slack.dev/authentication/verifying-requests-from-slack."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
        b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    request = Request(body=body, headers=headers, received_at=datetime.fromtimestamp(1531420618, UTC))
    inbound = SlackInbound("work", SlackAccount(signing_secret=SECRET, team="T1DC2JH3J"))
    inbound.verify(request)
    [command] = inbound.parse(request).messages
    assert (command.address.chat, command.content.kind) == ("G8PSS9T3V", "command")


class Noon(SlackClock):
    def now(self) -> float:
        return NOON.timestamp()


def test_slack_s_sdk_takes_what_we_take_and_refuses_what_we_refuse() -> None:
    chance = Random(15)
    ours = SlackInbound("work", SlackAccount(signing_secret=SECRET, team="T1"))
    theirs = SignatureVerifier(SECRET, Noon())
    found = {True: 0, False: 0}
    for number in range(COUNT):
        text = "".join(chr(chance.choice((chance.randrange(128), chance.randrange(0xD800)))) for _ in range(60))
        request = slack.signed(SECRET, text.encode(), NOON)
        body, headers = request.body, dict(request.headers)
        match number % 5:
            case 1:
                body += b" "
            case 2:
                headers["x-slack-signature"] = headers["x-slack-signature"][:-1] + chance.choice("0123456789abcdef")
            case 3:
                headers["x-slack-request-timestamp"] = str(int(NOON.timestamp()) + chance.randrange(-600, 600))
            case 4:
                request = slack.signed(
                    SECRET, body, datetime.fromtimestamp(NOON.timestamp() + chance.randrange(-600, 600), UTC)
                )
                headers = dict(request.headers)
            case _:
                pass
        taken = is_taken(ours, Request(body=body, headers=headers, received_at=NOON))
        assert taken == theirs.is_valid_request(body, headers)
        found[taken] += 1
    assert min(found.values()) > COUNT / 5


def test_the_example_of_standard_webhooks_is_verified() -> None:
    """Source: https://www.standardwebhooks.com/ and its reference implementations' tests."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, UTC)
    inbound = WebhookInbound("shop", WebhookAccount(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))  # noqa: S106
    assert is_taken(inbound, Request(body=b'{"test": 2432232314}', headers=headers, received_at=at))
    assert not is_taken(inbound, Request(body=b'{"test": 2432232315}', headers=headers, received_at=at))


def test_feishu_s_example_is_decrypted() -> None:
    """Source: "Receive events" at https://open.feishu.cn/document: `hello world` under the key `test key`."""
    inbound = FeishuInbound("work", FeishuAccount(encrypt_key="test key", verification_token="12345678"))  # noqa: S106
    body = b'{"encrypt": "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}'
    with pytest.raises(Malformed, match="the body is not JSON"):
        inbound.parse(Request(body=body, received_at=NOON))
