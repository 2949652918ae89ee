import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.workers.adapters.port import Unverified
from agentbus.workers.adapters.webchat import visitor_token
from agentbus.workers.adapters.webchat.tokens import ANONYMOUS_SECONDS, anonymous_token, visitor_of
from tests.platforms.webchat import claims, encoded, token

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
RIGHT = claims(NOON)


def test_a_visitor_is_who_the_sites_server_says() -> None:
    made = visitor_token(SECRET, account="shop", visitor="ann", chat="order 7", name="Ann", seconds=60, now=NOON)
    found = visitor_of(made, SECRET, account="shop", now=NOON)

    assert (found.visitor, found.chat, found.name, found.anonymous) == ("ann", "order 7", "Ann", False)
    assert found.until == NOON + timedelta(seconds=60)
    assert (found.address.platform, found.address.account) == ("webchat", "shop")
    assert (found.address.chat, found.address.user) == ("order 7", "ann")


def test_without_a_chat_it_is_one_of_their_own_and_a_token_made_elsewhere_counts_as_ours_does() -> None:
    found = visitor_of(token(SECRET, {**RIGHT, "iat": 1, "more": {}}), SECRET, account="shop", now=NOON)
    assert (found.visitor, found.chat) == ("ann", "ann")


def test_anonymous_visitors_are_all_different_and_stay_who_they_are_when_renewed() -> None:
    def known(made: str, now: datetime = NOON) -> str:
        found = visitor_of(made, SECRET, account="shop", now=now)
        assert found.anonymous
        return found.visitor

    one, other = (anonymous_token(SECRET, account="shop", now=NOON) for _ in range(2))
    assert known(one) != known(other)
    later = NOON + timedelta(seconds=ANONYMOUS_SECONDS - 1)
    renewed = anonymous_token(SECRET, account="shop", now=later, visitor=known(one, later))
    assert known(renewed, later + timedelta(days=1)) == known(one)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "..",
        "a.b.c",
        "é" * 99,
        token(SECRET, RIGHT) + "=",
        token(SECRET, RIGHT)[:-1],
        token("another secret, which is not ours", RIGHT),
        token(SECRET, RIGHT, header={"alg": "none"}),
        token(SECRET, RIGHT, header={"alg": "HS512"}),
        token(SECRET, RIGHT, header={"alg": "HS256", "crit": ["exp"]}),
        f"{encoded(b'{}')}.{encoded(b'{}')}.",
        token(SECRET, {**RIGHT, "aud": "webchat/other"}),
        token(SECRET, {**RIGHT, "aud": 7}),
        token(SECRET, {**RIGHT, "exp": int(NOON.timestamp())}),
        token(SECRET, {**RIGHT, "exp": "9999999999"}),
        token(SECRET, {**RIGHT, "exp": 1e300}),
        token(SECRET, {**RIGHT, "exp": float("nan")}),
        token(SECRET, {**RIGHT, "nbf": int(NOON.timestamp()) + 60}),
        token(SECRET, {**RIGHT, "sub": ""}),
        token(SECRET, {**RIGHT, "sub": "x" * 129}),
        token(SECRET, {**RIGHT, "sub": "a\x00b"}),
        token(SECRET, {**RIGHT, "sub": "\ud800"}),
        token(SECRET, {**RIGHT, "chat": ["x"]}),
        token(SECRET, {**RIGHT, "more": "x" * 5000}),
        token(SECRET, {name: value for name, value in RIGHT.items() if name != "exp"}),
    ],
)
def test_nothing_else_is_taken(wrong: str) -> None:
    assert visitor_of(token(SECRET, RIGHT), SECRET, account="shop", now=NOON).visitor == "ann"
    with pytest.raises(Unverified):
        visitor_of(wrong, SECRET, account="shop", now=NOON)


@pytest.mark.parametrize("body", [b"[]", b"7", b'"x"', b"{", b"\xff", b"[" * 3000])
def test_what_is_signed_and_says_nothing_is_refused(body: bytes) -> None:

    for header, said in ((encoded(body), encoded(b"{}")), (encoded(b'{"alg":"HS256"}'), encoded(body))):
        signed = f"{header}.{said}"
        made = f"{signed}.{encoded(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"
        with pytest.raises(Unverified):
            visitor_of(made, SECRET, account="shop", now=NOON)


@pytest.mark.parametrize(
    "wrong", [{"visitor": ""}, {"visitor": "x" * 129}, {"visitor": "a\nb"}, {"name": ""}, {"chat": ""}]
)
def test_a_token_is_not_made_for_what_is_no_visitor(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        visitor_token(SECRET, **{"account": "shop", "visitor": "ann", **wrong})
