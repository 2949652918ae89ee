"""JSON Web Tokens of an issuer that the installation trusts: who speaks by them, and what they may.

Algorithms are asymmetric ones alone, and those of the key's own kind: nothing in a token chooses how it is checked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import httpx
import jwt

from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.operators import Operator
from agentbus.contracts.telemetry import Action
from agentbus.http.access import Caller
from agentbus.operations.api_keys import Role
from agentbus.sessions.model.validation import is_id
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.faults import told

if TYPE_CHECKING:
    from agentbus.settings import ApiSettings

ALGORITHMS: Final[Mapping[tuple[str, str | None], tuple[str, ...]]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""By the kind of a key and its curve, how it may have signed."""

LEEWAY: Final = 30.0
"""Seconds by which the issuer's clock may differ from ours."""

FRESH_SECONDS: Final = 600.0
"""Seconds after which the issuer's keys are asked for again."""
PAUSE_SECONDS: Final = 30.0
"""Seconds between two times that they are asked for, whatever tokens name."""
LONGEST_SECONDS: Final = 3600.0
"""Seconds for which keys are believed while the issuer does not answer."""

_FETCH_SECONDS: Final = 5.0
_MOST_BYTES: Final = 262_144
_MOST_KEYS: Final = 100

_log = Logger(__name__)

Fetch = Callable[[], Awaitable[bytes]]
"""Gets the issuer's key set. Raises OSError, httpx.HTTPError, ValueError."""


class IssuerSilent(AgentBusError):
    """The issuer of tokens does not give its keys."""


@dataclass(frozen=True, slots=True)
class _Key:
    key: Any
    algorithms: Sequence[str]


class Tokens:
    """Checks tokens. `fetch` gets the issuer's key set; without it: from the address in the settings."""

    def __init__(
        self, settings: "ApiSettings", *, fetch: Fetch | None = None, timer: Callable[[], float] = monotonic
    ) -> None:
        self._settings = settings
        self._keys = _Keys(fetch or partial(_fetched, settings.api_jwt_jwks or ""), timer)

    async def caller_of(self, text: str) -> Caller | None:
        """Return who speaks by a token; None if it is no good one. Raises IssuerSilent."""
        try:
            header = jwt.get_unverified_header(text)
        except jwt.PyJWTError:
            return None
        key = await self._keys.of(header.get("kid"))
        if key is None or header.get("alg") not in key.algorithms:
            return None
        settings = self._settings
        try:
            claims = jwt.decode(
                text,
                key.key,
                algorithms=list(key.algorithms),
                audience=settings.api_jwt_audience,
                issuer=settings.api_jwt_issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return _caller(claims, settings.api_jwt_roles_claim, settings.api_jwt_user_claim)


def _caller(claims: Mapping[str, Any], roles_claim: str, user_claim: str) -> Caller | None:
    """Return who claims name: a user who is nobody else, or, with the role `operate`, somebody who acts for all."""
    given, user = claims.get(roles_claim), claims.get(user_claim)
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
    roles = frozenset(role for role in Role if role.value in words)
    if not isinstance(user, str) or not is_id(user):
        return None
    if Role.OPERATE in roles:
        return Caller(name=f"token:{user}", roles=roles, by=Operator(user=user))
    return Caller(name=f"token:{user}", roles=roles, user=user)


class _Keys:
    """The issuer's keys, by their names, as it gave them last."""

    def __init__(self, fetch: Fetch, timer: Callable[[], float]) -> None:
        self._fetch = fetch
        self._timer = timer
        self._keys: dict[str | None, _Key] = {}
        self._read_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def of(self, kid: object) -> _Key | None:
        """Return the key of a name, or the only one for a token that names none. Raises IssuerSilent."""
        if self._timer() - self._read_at >= FRESH_SECONDS or self._known(kid) is None:
            await self._ask()
        if self._timer() - self._read_at >= LONGEST_SECONDS:
            raise IssuerSilent
        return self._known(kid)

    def _known(self, kid: object) -> _Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid) if isinstance(kid, str) else None

    async def _ask(self) -> None:
        """Read the keys anew, unless somebody did so just now. If that fails, those that are known stay."""
        async with self._asking:
            if self._timer() - self._asked_at < PAUSE_SECONDS:
                return
            self._asked_at = self._timer()
            try:
                async with asyncio.timeout(_FETCH_SECONDS):
                    self._keys = _read(await self._fetch())
                self._read_at = self._timer()
            except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise_if_cancelled()
                _log.warning(Action.API_FAILED, what="the keys of the issuer of tokens", **told(error))


def _read(body: bytes) -> dict[str | None, _Key]:
    """Return the keys of a set that sign, by their names. Raises ValueError for what is none."""
    given = json_in(body)
    listed = given.get("keys") if isinstance(given, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a key set")
    found: dict[str | None, _Key] = {}
    for one in listed[:_MOST_KEYS]:
        if isinstance(one, dict) and one.get("use", "sig") == "sig" and (algorithms := _algorithms(one)):
            try:
                key = jwt.PyJWK.from_dict(one).key
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue  # It is of a kind that we don't know: the others are good all the same.
            name = one.get("kid")
            found[name if isinstance(name, str) else None] = _Key(key, algorithms)
    return found


def _algorithms(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how a key may have signed: as it says, or else in each way of its kind."""
    ways = next((ways for kind, ways in ALGORITHMS.items() if kind == (given.get("kty"), given.get("crv"))), ())
    own = given.get("alg")
    return ways if own is None else tuple(way for way in ways if way == own)


async def _fetched(url: str) -> bytes:
    """Get the key set. Raises as `Fetch`, ValueError for more bytes than it may have."""
    body = bytearray()
    async with httpx.AsyncClient(timeout=_FETCH_SECONDS) as client, client.stream("GET", url) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes")
    return bytes(body)
