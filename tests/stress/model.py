"""What must be so: who may do what with a session, and what became of everything that was asked of it.

It knows nothing of how AgentBus decides; it only writes down what calls were begun, confirmed and refused, and when.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from agentbus.contracts.ids import SessionId
from agentbus.contracts.profile import Permission


class Right(IntEnum):
    """What a user may do with a session."""

    NONE = 0
    READ = 1
    WRITE = 2
    OWN = 3


class Outcome(StrEnum):
    """What is known of a change."""

    PENDING = "pending"
    """It was asked for, and there is no answer yet."""
    CONFIRMED = "confirmed"
    """The call returned: it has to be there, once."""
    REFUSED = "refused"
    """The call was refused: it must not be there."""
    UNCERTAIN = "uncertain"
    """Nobody knows; it may be there, once."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what with a session, at a moment."""

    exists: bool = True
    public: bool = False
    shares: Mapping[str, Permission] = field(default_factory=dict)

    def right(self, user: str, owner: str) -> Right:
        """Return what `user` may do."""
        if not self.exists:
            return Right.NONE
        if user == owner:
            return Right.OWN
        shared = self.shares.get(user)
        if shared is not None:
            return Right.WRITE if shared is Permission.WRITE else Right.READ
        return Right.READ if self.public else Right.NONE


Key = tuple[str, ...]
"""What a change leaves in the log, told apart from all others: ("message", id), ("data", key, value as JSON)."""


@dataclass(slots=True)
class Effect:
    """A change that somebody asked for."""

    key: Key
    user: str
    start: float
    end: float | None = None
    outcome: Outcome = Outcome.PENDING

    @property
    def may_be_there(self) -> bool:
        """Whether nobody knows if it was carried out."""
        return self.outcome in {Outcome.PENDING, Outcome.UNCERTAIN}


DELETED: Final = Access(exists=False)


class SessionModel:
    """A session as it must be."""

    def __init__(self, session_id: SessionId, owner: str, clock: Callable[[], float]) -> None:
        self.session_id = session_id
        self.owner = owner
        self._clock = clock
        self._journal: list[Sequence[Access]] = [(Access(),)]
        self.effects: dict[Key, Effect] = {}
        self.by_field: dict[Key, list[Effect]] = {}
        self.fence = 0
        """The latest lock token that a confirmed change carried."""
        self.last_token = 0
        self.holder: str | None = None
        """Who holds the lock, between its confirmed taking and its giving back."""
        self.ever_shared: set[str] = set()

    @property
    def possible(self) -> Sequence[Access]:
        """What may be so now: one, or two while a change is under way."""
        return self._journal[-1]

    @property
    def access(self) -> Access:
        """What was so last that is certain, or will be."""
        return self._journal[-1][-1]

    def watch(self) -> int:
        """Begin to note what a call may meet; hand the number to `rights`."""
        return len(self._journal) - 1

    def rights(self, user: str, since: int) -> set[Right]:
        """Return what `user` may have been allowed at some moment since."""
        return {one.right(user, self.owner) for entry in self._journal[since:] for one in entry}

    def may_be(self, *possible: Access) -> None:
        """Note what the session's access may be from now on."""
        self._journal.append(possible)
        self.ever_shared |= {user for one in possible for user in one.shares}

    def began(self, key: Key, user: str) -> Effect:
        """Note that a change is asked for."""
        assert key not in self.effects, f"the program asks for {key} twice"
        effect = self.effects[key] = Effect(key, user, self._clock())
        self.by_field.setdefault(key[:-1], []).append(effect)
        return effect

    def settle(self, effect: Effect, outcome: Outcome) -> None:
        """Note what became of a change."""
        effect.outcome, effect.end = outcome, self._clock()

    def contended(self, effect: Effect, since: float) -> bool:
        """Whether somebody else's change to the same field may have come between `since` and now."""
        others = self.by_field[effect.key[:-1]]
        return any(
            one is not effect and one.outcome is not Outcome.REFUSED and (one.end is None or one.end >= since)
            for one in others
        )

    def readable(self, *name: str) -> set[str | None]:
        """Return what a field may hold that nobody is changing now: the last confirmed value, or a later uncertain one.

        Values are as JSON; None: the field is not set.
        """
        found: set[str | None] = {None}
        for effect in self.by_field.get(name, []):
            if effect.outcome is Outcome.CONFIRMED:
                found = {effect.key[-1]}
            elif effect.may_be_there:
                found.add(effect.key[-1])
        return found
