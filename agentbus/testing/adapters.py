"""The conformance suite of channels: what ours are held to, for a channel of your own. It needs the extra `testing`.

A class of tests inherits it, and says how the platform signs and what it sends:

```python
from agentbus.testing.adapters import InboundConformance

class TestPigeon(InboundConformance):
    @pytest.fixture
    def channel(self): return CHANNEL

    @pytest.fixture
    def account(self): return PigeonAccount(secret="coo" * 8)

    @pytest.fixture
    def signed(self): return lambda body, at: Request(body=body, headers={"x-coo": seal(body)}, received_at=at)

    @pytest.fixture
    def bodies(self): return [{"loft": "3", "bird": "b1", "says": "coo"}]
```
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.messages import Attachment, TextContent
from agentbus.workers.adapters.port import (
    Channel,
    ChannelAccount,
    Failed,
    Feature,
    Inbound,
    Link,
    Malformed,
    Outcome,
    RateLimited,
    Received,
    Request,
    Sent,
    Streaming,
    Unknown,
    Unverified,
)

with importing_extras("testing"):
    import pytest

Signed = Callable[[bytes, datetime], Request]
"""Makes the request by which the platform brings a body, signed at that moment."""

NAME: Final = "conforming"
"""The account's name."""

_NOON: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
_RANDOM_BODIES: Final = 1000
_RARELY: Final = 0.01
_LONG: Final = "x" * 300_000
"""Longer than a text may be."""

_JUNK: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 10**30, -1e308, float("inf"), float("nan"), "", " ", "0", "\x00", "\ud800", "é" * 300),
    *([], {}, [[]], [None], {"": ""}, {"id": []}, {"type": {}}, [[[[[[[[[[[[]]]]]]]]]]]]),
)
"""What may stand anywhere in a body."""


class InboundConformance:
    """The contract of a way in. Subclasses give the fixtures `channel`, `account`, `signed` and `bodies`."""

    signs_bodies: ClassVar[bool] = True
    """Whether the platform signs what it sends, and does not only show a secret."""
    mutations: ClassVar[int] = 40
    """How often each body is tried with something else in it."""

    @pytest.fixture
    def inbound(self, channel: Channel[Any], account: ChannelAccount) -> Inbound:
        """Give the way in of the account."""
        assert channel.inbound
        return channel.inbound(NAME, account)

    def test_what_the_platform_signs_is_verified_and_says_something(
        self, inbound: Inbound, signed: Signed, bodies: Sequence[Any]
    ) -> None:
        for body in bodies:
            received = _taken(inbound, signed(_json(body), _NOON))
            assert received.messages or received.receipts or received.ignored
            assert 200 <= received.answer.status < 300

    def test_a_thousand_random_bodies_are_verified_and_none_that_was_tampered_with(
        self, inbound: Inbound, signed: Signed
    ) -> None:
        chance = Random(15)
        for _ in range(_RANDOM_BODIES):
            right = signed(chance.randbytes(chance.randrange(200)), _NOON)
            inbound.verify(right)
            wrong = chance.choice(list(self._tampered(right, chance)))
            with pytest.raises(Unverified):
                inbound.verify(wrong)

    def _tampered(self, right: Request, chance: Random) -> Iterator[Request]:
        """Yield the request with one byte or one header changed, and without each of its headers."""
        body = bytearray(right.body or b"\0")
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        if self.signs_bodies:
            yield replace(right, body=bytes(body))
            yield replace(right, body=right.body + b" ")
        for name in right.headers.keys() - {"content-type"}:
            value = right.headers[name]
            at = chance.randrange(len(value))
            other = chr(ord(value[at]) ^ 1)
            yield replace(right, headers={**right.headers, name: value[:at] + other + value[at + 1 :]})
            yield replace(right, headers={key: kept for key, kept in right.headers.items() if key != name})
            yield replace(right, headers={**right.headers, name: ""})

    def test_what_is_sent_again_has_the_same_ids(self, inbound: Inbound, signed: Signed, bodies: Sequence[Any]) -> None:
        for body in bodies:
            first = _taken(inbound, signed(_json(body), _NOON))
            again = _taken(inbound, signed(_json(body), _NOON + timedelta(days=14)))
            assert [one.input_id() for one in again.messages] == [one.input_id() for one in first.messages]
            ids = {one.input_id() for one in first.messages}
            assert len(ids) == len(first.messages), "two messages of one request count as one"

    def test_addresses_are_of_the_channel_and_the_account(
        self, channel: Channel[Any], inbound: Inbound, signed: Signed, bodies: Sequence[Any]
    ) -> None:
        for body in bodies:
            received = _taken(inbound, signed(_json(body), _NOON))
            addresses = [*(one.address for one in received.messages), *(one.address for one in received.receipts)]
            for address in addresses:
                assert (address.platform, address.account) == (channel.name, NAME)

    def test_whatever_stands_in_a_body_becomes_messages_that_fit_or_the_body_is_malformed(
        self, inbound: Inbound, signed: Signed, bodies: Sequence[Any]
    ) -> None:
        chance = Random(15)
        for body in (*bodies, {}, [], None):
            for _ in range(self.mutations):
                request = signed(_json(mutated(body, chance)), _NOON)
                inbound.verify(request)
                try:
                    received = inbound.parse(request)
                except Malformed:
                    continue
                assert received.messages or received.receipts or received.ignored
                for one in received.messages:
                    raw = InputEnvelope(id=one.input_id(), data=one).to_bytes()
                    assert InputEnvelope.from_bytes(raw).data == one

    def test_bytes_that_are_no_body_are_malformed(self, inbound: Inbound, signed: Signed) -> None:
        for body in (b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 2000, b"1" * 5000):
            request = signed(body, _NOON)
            inbound.verify(request)
            with pytest.raises(Malformed):
                inbound.parse(request)

    def test_no_secret_of_an_account_shows(self, account: ChannelAccount) -> None:
        fields = type(account).model_fields
        secrets = [getattr(account, name) for name, field in fields.items() if not field.repr]
        shown = repr(account) + str(account)
        assert not any(str(one) in shown for one in secrets if one)


_ANSWERS: Final = (b"", b"[]", b"\xff", b'{"ok": true, "code": 0, "id": [], "result": 7}', b'{"error": {"code": 1}}')
"""What a platform may answer, though it should not."""


class OutboundConformance:
    """The contract of a way out, and of what finds files. Subclasses give the fixtures `channel` and `account`.

    The account has all that sending needs; nothing is sent anywhere: its platform answers as the suite has it answer.
    """

    @pytest.fixture
    def secrets(self, account: ChannelAccount) -> list[str]:
        """Give what must not show."""
        fields = type(account).model_fields
        return [str(value) for name, field in fields.items() if not field.repr and (value := getattr(account, name))]

    async def test_whatever_the_platform_answers_each_call_says_what_became_of_it(
        self, channel: Channel[Any], account: ChannelAccount, secrets: list[str]
    ) -> None:
        for status in (200, 302, 400, 401, 429, 503):
            for body in (
                b"",
                b"[]",
                b"\xff",
                b'{"ok": true, "code": 0, "id": [], "result": 7}',
                b'{"error": {"code": 1}}',
            ):
                for outcome in await self._outcomes(channel, account, lambda _: (status, body)):  # noqa: B023 - called at once
                    assert isinstance(outcome, Sent | Failed | Unknown | RateLimited)
                    assert not any(one in repr(outcome) for one in secrets)

    async def test_of_a_connection_that_died_nobody_says_that_the_platform_surely_took_nothing_for_good(
        self, channel: Channel[Any], account: ChannelAccount
    ) -> None:
        with importing_extras("channels"):
            from httpx import ConnectError, ReadError  # noqa: PLC0415 - the suite of ways in does without

        for died in (ReadError, ConnectError):

            def dead(request: Any, died: Any = died) -> tuple[int, bytes]:
                raise died("gone", request=request)

            sent = (await self._outcomes(channel, account, dead))[0]
            assert not isinstance(sent, Failed) or not sent.permanent
            assert not isinstance(sent, RateLimited)

    async def test_what_it_says_it_can_do_is_asked_for_and_all_else_is_failed_for_good(
        self, channel: Channel[Any], account: ChannelAccount
    ) -> None:
        can = channel.capabilities
        outcomes = await self._outcomes(channel, account, lambda _: (503, b""))
        for outcome, feature in zip(outcomes[1:4], (Feature.EDITS, Feature.DELETES, Feature.REACTIONS), strict=True):
            assert (feature in can.sends) != (isinstance(outcome, Failed) and outcome.permanent), feature
        if can.streaming is Streaming.EDITED:
            assert Feature.EDITS in can.sends
        if channel.hosted is None:  # one that is hosted shows by itself that an answer is being written
            assert bool(can.typing_seconds) == (Feature.TYPING in can.sends)

    async def test_a_file_elsewhere_is_given_no_secret_and_none_shows(
        self, channel: Channel[Any], account: ChannelAccount, secrets: list[str]
    ) -> None:
        links = channel.media(account) if channel.media else None
        if links is None:
            return

        async def ask(link: Link) -> Mapping[str, Any]:
            assert not any(one in repr(link) for one in secrets)
            return {}

        elsewhere = await links.link(Attachment(uri="https://elsewhere.test/a.png"), ask)
        assert elsewhere is None or not elsewhere.headers

    async def _outcomes(
        self, channel: Channel[Any], account: ChannelAccount, answer: Callable[[Any], tuple[int, bytes]]
    ) -> list[Outcome]:
        """Return what became of: send, edit, delete, react, show, reconcile."""
        with importing_extras("channels"):
            from httpx import AsyncClient, MockTransport, Response  # noqa: PLC0415 - the suite of ways in does without

        def handle(request: Any) -> Any:
            status, body = answer(request)
            return Response(status, content=body)

        to = Address(platform=Platform(channel.name), account=NAME, chat="42", user="42")
        said = TextContent(text="**hello**")
        assert channel.outbound
        async with AsyncClient(transport=MockTransport(handle)) as client:
            outbound = channel.outbound(NAME, account, client)
            assert outbound is not None, "the account has not what sending needs"
            await outbound.typing(to)
            return [
                await outbound.send(said, to, "a-key-1-1"),
                await outbound.edit("7", said, to),
                await outbound.delete("7", to),
                await outbound.react("7", "👍", to),
                await outbound.show(said, to, "a-key"),
                await outbound.reconcile("a-key-1-1", to, _NOON),
            ]


def _taken(inbound: Inbound, request: Request) -> Received:
    inbound.verify(request)
    return inbound.parse(request)


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def mutated(value: Any, chance: Random, often: float = 0.15) -> Any:
    """Return JSON with something else in the place of some of its parts."""
    if chance.random() < often:
        return _LONG if chance.random() < _RARELY else chance.choice(_JUNK)
    if isinstance(value, dict):
        kept = {key: mutated(item, chance, often) for key, item in value.items() if chance.random() > often / 3}
        return kept | (
            {chance.choice(("", "id", "type", "é")): chance.choice(_JUNK)} if chance.random() < often else {}
        )
    if isinstance(value, list):
        return [mutated(item, chance, often) for item in value] * chance.choice((1, 1, 1, 2))
    return value
