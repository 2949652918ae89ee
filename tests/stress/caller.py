"""A user's calls: each is made until it has an answer, timed, and held against what its user may do."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, TypeVar

from agentbus.contracts.errors import (
    AccessDenied,
    BrokerBlocked,
    BrokerUnavailable,
    EditConflict,
    LockLost,
    LockTimeout,
    PublishUnconfirmed,
    ReplyTimeout,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.sessions import AgentBusError, SessionManager
from tests.stress.ledger import Ledger, Timed
from tests.stress.model import Effect, Outcome, Right, SessionModel

TRANSIENT: Final = (ReplyTimeout, PublishUnconfirmed, BrokerUnavailable, BrokerBlocked, StoreUnavailable)
"""The errors after which a call is made again, with the same id."""

PATIENCE: Final = 60.0
"""Seconds after which a call without an answer counts as lost."""

T = TypeVar("T")


class Caller:
    """A user with a way to make calls, and another way for those that got no answer."""

    def __init__(
        self, user: str, manager: SessionManager, other: SessionManager, ledger: Ledger, random: Random
    ) -> None:
        self.user = user
        self.manager = manager
        """What the call at hand goes through."""
        self._ways = manager, other
        self.ledger = ledger
        self.random = random
        self.tokens: dict[str, int] = {}
        """Those of locks that the user held, by session."""
        self._number = 0

    def unique(self) -> str:
        """Return a name that no other call has."""
        self._number += 1
        return f"{self.user}-{self._number}"

    async def call(
        self,
        kind: str,
        session: SessionModel,
        needed: Right,
        attempt: Callable[[], Awaitable[T]],
        *,
        effects: Sequence[Effect] = (),
        read_at: float | None = None,
        stale: bool = False,
        once: bool = False,
        as_application: bool = False,
    ) -> T | None:
        """Make a call that needs a right to a session; return what it gives, None if it gave nothing or failed.

        `effects` are the changes that it asks for, `read_at` is when what it changes was read (None: it does not
        depend on that). `stale` says that it carries the token of a lock which others have held since, `once` that
        it can't be made again under the same id, `as_application` that it is made for no user.
        """
        begun = session.watch()
        result, error, retries = await self._answer(kind, attempt, once=once)
        # Who loses the right while the call is under way may be refused what the change is followed by: reading it.
        revoked = isinstance(error, AccessDenied) and max(session.rights(self.user, begun)) >= needed
        for effect in effects:
            session.settle(effect, Outcome.UNCERTAIN if revoked else _outcome(error, retries))
        rights = {Right.OWN} if as_application else session.rights(self.user, begun)
        who = f"{self.user} ({'/'.join(one.name.lower() for one in sorted(rights))}) {kind} {session.session_id}"
        if once and isinstance(error, TRANSIENT):
            return None
        if isinstance(error, EditConflict) and max(rights) >= needed:
            if read_at is None or not any(session.contended(effect, read_at) for effect in effects):
                self.ledger.breach("conflict without another writer", f"{who}: {error}")
            return None
        self._judge(who, needed, rights, error, stale=stale)
        return result

    async def call_unchecked(self, kind: str, attempt: Callable[[], Awaitable[T]]) -> T | None:
        """Make a call that has to succeed for everybody."""
        result, error, _ = await self._answer(kind, attempt)
        self._judge(f"{self.user} {kind}", Right.NONE, {Right.NONE}, error, stale=False)
        return result

    async def _answer(
        self, kind: str, attempt: Callable[[], Awaitable[T]], *, once: bool = False
    ) -> tuple[T | None, Exception | None, int]:
        start, retries = self.ledger.now(), 0
        result: T | None = None
        error: Exception | None = None
        while True:
            try:
                result, error = await attempt(), None
            except TRANSIENT as failed:
                error = failed
                if self.ledger.now() - start < PATIENCE and not once:
                    retries += 1
                    self.manager = self._ways[1]  # As another process would, which knows nothing but the id.
                    await asyncio.sleep(self.random.uniform(0.01, 0.1))
                    continue
            except Exception as failed:
                error = failed
            break
        self.manager = self._ways[0]
        answer = error.code if isinstance(error, AgentBusError) else type(error).__name__ if error else "done"
        self.ledger.calls.append(Timed(kind, start, self.ledger.now(), answer, retries))
        return result, error, retries

    def _judge(self, who: str, needed: Right, rights: set[Right], error: Exception | None, *, stale: bool) -> None:
        allowed, forbidden = max(rights) >= needed, min(rights) < needed
        match error:
            case None:
                if not allowed:
                    self.ledger.breach("forbidden call succeeded", who)
                if stale:
                    self.ledger.breach("stale lock token accepted", who)
            case AccessDenied():
                if not forbidden:
                    self.ledger.breach("allowed call denied", who)
            case EditConflict() | LockLost() | LockTimeout() if not allowed:
                self.ledger.breach("forbidden call not denied", f"{who}: {error.code}")
            case LockLost():
                if not stale:
                    self.ledger.breach("lock lost while it was held", f"{who}: {error}")
            case LockTimeout():
                pass  # Others held it: that is what it is for.
            case SessionNotFound():
                if Right.NONE not in rights:  # It may have been deleted between the change and the reading of it.
                    self.ledger.breach("session not found", f"{who}: {error}")
            case ReplyTimeout() | PublishUnconfirmed() | BrokerUnavailable() | BrokerBlocked() | StoreUnavailable():
                self.ledger.breach("no answer", f"{who}: {error.code} for {PATIENCE:g} s")
            case _:
                self.ledger.breach("unexpected error", f"{who}: {type(error).__name__}: {error}")


def _outcome(error: Exception | None, retries: int) -> Outcome:
    if error is None:
        return Outcome.CONFIRMED
    # Not found is said by the reading that follows a change, which may have been carried out; and a refusal after
    # an attempt without an answer says nothing about that attempt.
    refused = isinstance(error, AccessDenied | EditConflict | LockLost) and not retries
    return Outcome.REFUSED if refused else Outcome.UNCERTAIN


def as_text(value: Any) -> str:
    """Return a value as the model tells values apart."""
    return json.dumps(value, sort_keys=True)
