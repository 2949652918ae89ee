from datetime import UTC, datetime

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Request, Sent, Unknown, Unverified

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SOMEWHERE = Address(platform=Platform.WEB, chat="room", user="ann")


class Plain(Outbound):
    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        return Sent(f"{address.chat}/{key}/{content.text}/{timeout}")


async def test_what_a_platform_does_not_offer_fails_for_good_and_an_outcome_that_it_does_not_tell_is_unknown() -> None:
    plain, words = Plain(), TextContent(text="hello")

    assert await plain.edit("1", words, SOMEWHERE) == Failed("this channel can't edit", permanent=True)
    assert await plain.delete("1", SOMEWHERE) == Failed("this channel can't delete", permanent=True)
    assert await plain.react("1", "👍", SOMEWHERE) == Failed("this channel can't react", permanent=True)
    assert await plain.reconcile("key", SOMEWHERE, NOON) == Unknown("the platform can't be asked")


def test_a_header_that_is_missing_is_no_signature() -> None:
    request = Request(body=b"{}", headers={"x-signature": ""}, received_at=NOON)

    assert not request.header("x-signature")
    with pytest.raises(Unverified, match="x-other is missing"):
        request.header("x-other")
