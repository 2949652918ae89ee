"""Claim codes as text: what is written for people, and what people send back.

A code is a number and a proof of it, in Crockford's base32 (no I, L, O, U: they are taken for 1 and 0). The number, 40
random bits, is what the store knows the code by. The proof is 80 bits of an HMAC-SHA256 that binds the number to the
session it was given out for and to the end of its time; it is kept nowhere.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import CommandContent, Spoken, TextContent

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ALIKE: Final = str.maketrans("OIL", "011")
_NUMBER: Final = 8
_PROOF: Final = 16
_GROUP: Final = 4
_SHAPE: Final = re.compile(
    rf"[0-9A-Za-z]{{{_GROUP}}}(?:[ -]?[0-9A-Za-z]{{{_GROUP}}}){{{(_NUMBER + _PROOF) // _GROUP - 1}}}"
)
_COMMAND: Final = "link"


@dataclass(frozen=True, slots=True)
class Heard:
    """A code that somebody sent."""

    number: str
    proof: str
    asked: bool
    """It came with `/link`: whoever sent it expects an answer."""


def new_number() -> str:
    """Make up the number of a new code."""
    return _base32(secrets.token_bytes(_NUMBER * 5 // 8))


def proof_of(secret: bytes, number: str, session: SessionId, expires_at: datetime) -> str:
    """Return what proves that a code was given out for `session`, to be used until `expires_at`."""
    signed = f"agentbus claim\n{number}\n{session}\n{expires_at.isoformat()}".encode()
    return _base32(hmac.new(secret, signed, hashlib.sha256).digest()[: _PROOF * 5 // 8])


def is_proof(given: str, right: str) -> bool:
    """Whether a proof is the right one; takes as long for every wrong one."""
    return hmac.compare_digest(given, right)


def written(number: str, proof: str) -> str:
    """Return a code as people read and type it: `8F3K-0Q2M-...`."""
    text = number + proof
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def heard_in(content: Spoken) -> Heard | None:
    """Return the code that a message consists of, with or without `/link` before it; None for all other messages."""
    if isinstance(content, CommandContent):
        return _heard(content.arguments, asked=True) if content.name.lower() == _COMMAND else None
    if not isinstance(content, TextContent):
        return None
    text = content.text.strip()
    first, _, rest = text.partition(" ")
    return _heard(rest, asked=True) if first.lower() == f"/{_COMMAND}" else _heard(text, asked=False)


def _heard(text: str, *, asked: bool) -> Heard | None:
    text = text.strip()
    if not _SHAPE.fullmatch(text):
        return None
    plain = re.sub("[ -]", "", text).upper().translate(_ALIKE)
    return Heard(plain[:_NUMBER], plain[_NUMBER:], asked)


def _base32(raw: bytes) -> str:
    value, digits = int.from_bytes(raw, "big"), len(raw) * 8 // 5
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(digits)))
