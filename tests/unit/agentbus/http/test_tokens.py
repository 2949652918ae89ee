"""Tokens of an issuer: what makes one good, and how often its keys are asked for."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.operators import Operator
from agentbus.http.access import Caller, Doorkeeper
from agentbus.http.tokens import FRESH_SECONDS, LONGEST_SECONDS, PAUSE_SECONDS, IssuerSilent, Tokens
from agentbus.operations.api_keys import Role
from agentbus.settings import ApiSettings, load_settings
from tests.harness.api import World, a_message

RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC: Final = ec.generate_private_key(ec.SECP256R1())
ED: Final = ed25519.Ed25519PrivateKey.generate()
OTHER: Final = ec.generate_private_key(ec.SECP256R1())

SETTINGS: Final[dict[str, Any]] = {
    "api_jwt_issuer": "https://issuer.example",
    "api_jwt_audience": "agentbus",
    "api_jwt_jwks": "https://issuer.example/keys",
}


def public(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    kinds: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(algorithm for of, algorithm in kinds.items() if isinstance(key, of))
    shown: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return shown | ({"kid": kid} if kid else {}) | more


def a_token(key: Any = EC, algorithm: str = "ES256", kid: str | None = "ec", **claims: Any) -> str:
    now = datetime.now(UTC)
    said = {
        "iss": "https://issuer.example",
        "aud": "agentbus",
        "sub": "ann",
        "roles": ["read", "publish"],
        "exp": now + timedelta(hours=1),
        **claims,
    }
    headers = {"kid": kid} if kid else {}
    return jwt.encode({name: one for name, one in said.items() if one is not None}, key, algorithm, headers)


class Issuer:
    """Gives its keys, and counts how often; fails if it is told to."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public(RSA, "rsa"), public(EC, "ec"), public(ED, "ed")]
        self.asked = 0
        self.failing: Exception | None = None
        self.now = 1000.0

    async def fetch(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing
        return json.dumps({"keys": self.keys}).encode()

    def tokens(self) -> Tokens:
        return Tokens(ApiSettings(**SETTINGS), fetch=self.fetch, timer=lambda: self.now)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (RSA, "PS512", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")],
    ids=["RS256", "PS512", "ES256", "EdDSA"],
)
async def test_a_good_one_names_its_user_and_what_they_may(key: Any, algorithm: str, kid: str) -> None:
    caller = await Issuer().tokens().caller_of(a_token(key, algorithm, kid))
    assert caller == Caller(name="token:ann", roles=frozenset({Role.READ, Role.PUBLISH}), user="ann")


async def test_roles_are_a_list_or_words_and_an_operator_acts_for_all() -> None:
    tokens = Issuer().tokens()
    cases: list[tuple[Any, set[Role], str | None]] = [
        ("read email", {Role.READ}, "ann"),
        (["operate", "fly"], {Role.OPERATE}, None),
        ([], set(), "ann"),
        (None, set(), "ann"),
        (7, set(), "ann"),
        ([["read"]], set(), "ann"),
    ]
    for roles, expected, user in cases:
        caller = await tokens.caller_of(a_token(roles=roles))
        by = None if user else Operator(user="ann")
        assert caller == Caller(name="token:ann", roles=frozenset(expected), user=user, by=by), roles


async def test_what_is_not_as_it_must_be_is_no_token() -> None:
    issuer = Issuer()
    issuer.keys += [
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"},
        public(OTHER, "wrapping", use="enc"),
        {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "?", "y": "?"},
        {"kty": ["EC"], "kid": "odd"},
        "no key at all",
        public(RSA, "rs512", alg="RS512"),
    ]
    tokens = issuer.tokens()
    past = datetime.now(UTC) - timedelta(hours=1)
    pem = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    bad: dict[str, str] = {
        "expired": a_token(exp=past),
        "not yet": a_token(nbf=datetime.now(UTC) + timedelta(hours=1)),
        "of another issuer": a_token(iss="https://other.example"),
        "for others": a_token(aud="others"),
        "for nobody": a_token(aud=None),
        "for ever": a_token(exp=None),
        "of nobody": a_token(sub=None),
        "of no user": a_token(sub="x" * 300),
        "signed by another": a_token(OTHER),
        "of a key that is not there": a_token(kid="nowhere"),
        "without a name, of several keys": a_token(kid=None),
        "unsigned": jwt.encode({"sub": "ann"}, None, "none", {"kid": "ec"}),  # type: ignore[arg-type] # it is meant
        "by a shared secret": a_token("secret-secret-secret-secret-secret", "HS256", "shared"),
        "by the public key as a secret": _signed_by_bytes(pem),
        "by a key that wraps": a_token(OTHER, kid="wrapping"),
        "by a broken key": a_token(OTHER, kid="broken"),
        "another way than the key's": a_token(RSA, "RS256", "rs512"),
        "a curve for a ring": a_token(EC, "ES256", "rsa"),
        "no token": "a.b.c",
        "nothing": "..",
    }
    assert await tokens.caller_of(a_token())
    found = {why: await tokens.caller_of(text) for why, text in bad.items()}
    assert {why for why, caller in found.items() if caller} == set()


def _signed_by_bytes(secret: bytes) -> str:
    """Sign with a public key as if it were a secret: libraries that trust the header's `alg` take it."""
    said = {"sub": "ann", "iss": "https://issuer.example", "aud": "agentbus", "exp": 9_000_000_000}
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "ec"}, said)
    ]
    signed = b".".join(encoded)
    mac = base64.urlsafe_b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + mac).decode()


async def test_the_only_key_needs_no_name() -> None:
    issuer = Issuer()
    issuer.keys = [public(EC, None)]
    tokens = issuer.tokens()
    assert await tokens.caller_of(a_token(kid=None))
    assert await tokens.caller_of(a_token(kid="ec")) is None


async def test_keys_are_asked_for_now_and_then_whatever_tokens_name() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    await asyncio.gather(*(tokens.caller_of(a_token(kid=f"made-up-{number}")) for number in range(20)))
    assert issuer.asked == 1
    for number in range(20):
        assert await tokens.caller_of(a_token(kid=f"made-up-{number}")) is None
    assert issuer.asked == 1
    issuer.keys = [public(OTHER, "new")]
    assert await tokens.caller_of(a_token(OTHER, kid="new")) is None, "it was asked just now"
    issuer.now += PAUSE_SECONDS
    assert await tokens.caller_of(a_token(OTHER, kid="new"))
    assert await tokens.caller_of(a_token()) is None, "the issuer has taken this key back"
    issuer.now += FRESH_SECONDS
    assert await tokens.caller_of(a_token(OTHER, kid="new"))
    assert issuer.asked == 3


async def test_an_issuer_that_is_silent_is_believed_for_a_while() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    assert await tokens.caller_of(a_token())
    for failing in (httpx.ConnectError("x"), OSError(), TimeoutError(), ValueError("no key set")):
        issuer.failing = failing
        issuer.now += FRESH_SECONDS
        assert await tokens.caller_of(a_token())
    issuer.now += LONGEST_SECONDS
    with pytest.raises(IssuerSilent):
        await tokens.caller_of(a_token())
    issuer.failing = None
    issuer.now += PAUSE_SECONDS
    assert await tokens.caller_of(a_token())


async def test_what_is_no_key_set_is_none() -> None:
    for body in (b"", b"[]", b'{"keys": 7}', b"[" * 100_000, b"\xff"):

        async def fetch(body: bytes = body) -> bytes:
            return body

        tokens = Tokens(ApiSettings(**SETTINGS), fetch=fetch, timer=lambda: 0.0)
        with pytest.raises(IssuerSilent):
            await tokens.caller_of(a_token())


async def test_a_token_is_its_user_and_an_operators_may_name_any(world: World) -> None:
    tokens = Issuer().tokens().caller_of
    world.api.doorkeeper = Doorkeeper(world.app.store, world.app.clock, local=False, rate=1000, token=tokens)
    user, operator = a_token(), a_token(sub="root", roles=["read", "operate"])
    async with world.caller(user) as ann, world.caller(operator) as op:
        assert (await ann.post("/v1/messages", json=a_message(user="ann"))).status_code == 200
        assert (await ann.post("/v1/messages", json=a_message(user="bob"))).status_code == 403
        assert (await ann.get("/v1/workers")).json()["code"] == "not_allowed"
        assert (await ann.get("/v1/sessions", headers={"X-AgentBus-User": "ann"})).status_code == 200
        assert (await ann.get("/v1/sessions", headers={"X-AgentBus-User": "bob"})).status_code == 403
        assert (await op.get("/v1/workers")).status_code == 200
        [session] = (await op.get("/v1/sessions")).json()["items"]
        assert (await op.get("/v1/sessions", headers={"X-AgentBus-User": "bob"})).json()["items"] == []
        assert (await op.delete(f"/v1/sessions/{session['session_id']}")).status_code == 403
        assert (await op.get("/v1/sessions", headers={"Authorization": f"Bearer {user}x"})).status_code == 401


def test_what_is_set_of_tokens_is_set_whole_and_safely() -> None:
    for given in (
        {"api_jwt_issuer": "x"},
        {**SETTINGS, "api_jwt_audience": None},
        {**SETTINGS, "api_jwt_jwks": "http://issuer.example/keys"},
        {**SETTINGS, "api_jwt_jwks": "file:///keys"},
    ):
        with pytest.raises(ConfigurationError, match="AGENTBUS_API_JWT"):
            load_settings(**given)
    assert load_settings(**SETTINGS).api.api_jwt_audience == "agentbus"
