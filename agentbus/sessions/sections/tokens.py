"""Tokens of locks: fencing numbers that only whoever was given one knows.

A token is the number that the store gave out, which only grows, with 30 bits of an HMAC-SHA256 behind it that binds it
to the lock. So tokens grow as the numbers do, nobody comes upon another holder's by counting, and one that was never
given out is known for that: a huge one would lock out everybody after it.
"""

import hashlib
import hmac
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import LimitExceeded, LockLost
from agentbus.contracts.ids import SessionId, conversation_of, digest_of
from agentbus.sessions.engine import Engine
from agentbus.workers.sync.people.secret import Secret

_PROOF_BITS: Final = 30
_NUMBERS: Final = 1 << (63 - _PROOF_BITS)


class LockTokens:
    """Makes and reads tokens, by a secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def given(self, name: str, number: int) -> int:
        """Return the token for a number that was given out for a lock. Raises LimitExceeded when there are no more."""
        if number >= _NUMBERS:
            raise LimitExceeded(f"the lock {name} was taken {number} times: there are no more tokens for it")
        return number << _PROOF_BITS | self._proof(name, number)

    def number_of(self, name: str, token: int) -> int | None:
        """Return the number that a lock's token was given out for; None if it never was."""
        number, proof = token >> _PROOF_BITS, token & (1 << _PROOF_BITS) - 1
        return number if 0 < number < _NUMBERS and proof == self._proof(name, number) else None

    def _proof(self, name: str, number: int) -> int:
        signed = digest_of(("lock", name, str(number))).encode()
        digest = hmac.new(self._secret, signed, hashlib.sha256).digest()
        return int.from_bytes(digest[:4], "big") >> (32 - _PROOF_BITS)


class Fences:
    """The tokens of the sessions' locks in a deployment, by the secret that it keeps in its store."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._tokens: LockTokens | None = None

    async def tokens(self) -> LockTokens:
        """Return what makes and reads the deployment's tokens."""
        if self._tokens is None:
            self._tokens = LockTokens(await Secret(self._engine.store, self._clock).value())
        return self._tokens

    async def check(self, session_id: str, fence: int | None) -> None:
        """Raise LockLost for a token that was never given out for the session's lock."""
        if fence is not None and (await self.tokens()).number_of(lock_name(session_id), fence) is None:
            raise LockLost(f"lock token {fence} was never given out for session {session_id}")


def lock_name(session_id: str) -> str:
    """Return the lock's name: the same for all sessions of a conversation, as its fence outlives each of them."""
    return f"session/{conversation_of(SessionId(session_id))}"
