"""Who a visitor is: a token that the site's own server signs, or the gateway, for those who need no name.

Sources: RFC 7519 (JSON Web Token), RFC 7515 (its signature; HS256 is HMAC with SHA-256). Every language has a library
that makes them; ours takes no other algorithm, whatever a token says of itself.
"""

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import Id, Name
from agentbus.contracts.documents import json_in
from agentbus.workers.adapters.parsing import hmac_sha256, need_same
from agentbus.workers.adapters.port import Unverified

PLATFORM: Final = Platform("webchat")

ANONYMOUS_SECONDS: Final = 30 * 86_400.0
"""For how long the gateway's own tokens hold: each visit within that time renews them."""

MOST_VISITOR: Final = 128
"""Characters of a visitor's id: a message's id is made of it and of its own."""

_MOST_TOKEN: Final = 4096
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ALGORITHM: Final = "HS256"
_HEADER: Final = {"alg": _ALGORITHM, "typ": "JWT"}
_LATEST: Final = 253_402_300_799
"""The last second that calendars have."""


class _Claims(BaseModel):
    """What a token says; what else is in it is passed over."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    aud: str | list[str]
    sub: Id
    chat: Id | None = None
    name: Name | None = None
    exp: int | float = Field(ge=0, le=_LATEST)
    nbf: int | float = Field(default=0, ge=0, le=_LATEST)
    anonymous: bool = False

    @field_validator("sub")
    @classmethod
    def _short(cls, visitor: str) -> str:
        if len(visitor) > MOST_VISITOR:
            raise ValueError(f"a visitor's id has at most {MOST_VISITOR} characters")
        return visitor


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may write in a chat, until a moment."""

    account: str
    visitor: str
    chat: str
    name: str | None
    until: datetime
    anonymous: bool

    @property
    def address(self) -> Address:
        """Where they write from."""
        return Address(platform=PLATFORM, account=self.account, chat=self.chat, user=self.visitor)


def visitor_token(
    secret: str,
    *,
    account: str,
    visitor: str,
    chat: str | None = None,
    name: str | None = None,
    seconds: float = 3600.0,
    now: datetime | None = None,
) -> str:
    """Return the token by which somebody is known to a web chat: for a site's server, which knows who they are.

    `account` is the account's name in AGENTBUS_CHANNELS, `secret` its secret. `visitor` is who they are (128
    characters at most), `chat` which chat they see, by default one of their own. It holds for `seconds`. Raises
    ValueError for what is no id or no name.
    """
    until = (now or datetime.now(UTC)).timestamp() + seconds
    said = {"aud": _audience(account), "sub": visitor, "chat": chat, "name": name, "exp": int(until)}
    return _signed(_Claims.model_validate({key: value for key, value in said.items() if value is not None}), secret)


def anonymous_token(secret: str, *, account: str, now: datetime, visitor: str | None = None) -> str:
    """Return a token for somebody who has none, or for `visitor`, whose own is renewed."""
    until = int(now.timestamp() + ANONYMOUS_SECONDS)
    who = visitor or f"anonymous-{token_hex(16)}"
    return _signed(_Claims(aud=_audience(account), sub=who, exp=until, anonymous=True), secret)


def visitor_of(token: str, secret: str, *, account: str, now: datetime) -> Visitor:
    """Return who a token is of. Raises Unverified, also for one that has expired, or is for another account.

    The signature is looked at before anything else, as it is written: there is one way to write it.
    """
    if len(token) > _MOST_TOKEN or not _TOKEN.fullmatch(token):
        raise Unverified("the token is none")
    signed, _, signature = token.rpartition(".")
    need_same(signature, _encoded(hmac_sha256(secret.encode(), signed.encode()).digest()))
    header, _, claims = signed.partition(".")
    try:
        said = json_in(_decoded(header))
        found = _Claims.model_validate(json_in(_decoded(claims)))
    except (ValueError, ValidationError, RecursionError):
        raise Unverified("the token does not say what one says") from None
    if not isinstance(said, dict) or said.get("alg") != _ALGORITHM or "crit" in said:
        raise Unverified("the token is signed in another way than we take")
    if _audience(account) not in ([found.aud] if isinstance(found.aud, str) else found.aud):
        raise Unverified("the token is for another account")
    if not found.nbf <= now.timestamp() < found.exp:
        raise Unverified("the token has expired, or is still to come by our clock")
    until = datetime.fromtimestamp(found.exp, UTC)
    return Visitor(account, found.sub, found.chat or found.sub, found.name, until, found.anonymous)


def _audience(account: str) -> str:
    return f"{PLATFORM}/{account}"


def _signed(claims: _Claims, secret: str) -> str:
    said = json.dumps(claims.model_dump(exclude_defaults=True), ensure_ascii=False)
    signed = f"{_encoded(json.dumps(_HEADER).encode())}.{_encoded(said.encode())}"
    return f"{signed}.{_encoded(hmac_sha256(secret.encode(), signed.encode()).digest())}"


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
