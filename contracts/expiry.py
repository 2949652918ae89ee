"""Expiry: rules that end sessions in steps, the archive that they go to, resets as chat people know them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Announced, Contract, Id, Many, Name, Timestamp
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.profile import Seconds, SessionType


class ExpiryStrategy(StrEnum):
    """What a rule looks at."""

    TIME = "time"
    """The session's age."""
    ACTIVITY = "activity"
    """How long nothing happened."""
    USAGE = "usage"
    """How many messages it has."""
    HYBRID = "hybrid"
    """Several of these: all of them, or any."""
    CUSTOM = "custom"
    """A condition of one's own, registered by name."""


class CleanupAction(StrEnum):
    """What a rule does to a session."""

    NOTIFY = "notify"
    """Tell whoever listens; the session goes on."""
    SUSPEND = "suspend"
    """Set it aside."""
    EXPIRE = "expire"
    """End it; its history stays where it is."""
    ARCHIVE = "archive"
    """End it, and move its history to the archive."""
    MERGE = "merge"
    """End it, and bring its context into another session of the same identity."""
    DELETE = "delete"
    """End it, and take it away."""

    @property
    def ends(self) -> bool:
        """Whether the session is over after it."""
        return self not in {CleanupAction.NOTIFY, CleanupAction.SUSPEND}


class Step(Contract):
    """One of a rule's actions, and how long after the one before it (the first: after the rule's condition holds)."""

    action: CleanupAction
    after: float = Field(default=0.0, ge=0, le=3_155_760_000, description="Seconds.")


def _as_step(value: Any) -> Any:
    return {"action": value} if isinstance(value, str) else value


class Conditions(Contract):
    """Which sessions a rule is for, and when it holds for one."""

    max_age: Seconds | None = Field(default=None, description="Seconds since it began.")
    idle_for: Seconds | None = Field(default=None, description="Seconds since its last activity.")
    max_messages: int | None = Field(default=None, ge=1)
    match: Literal["all", "any"] = Field(default="all", description="For hybrid: whether all of them must hold.")
    custom: Id | None = Field(default=None, description="For custom: the condition's registered name.")
    platforms: Many[Platform] = Field(default=(), description="None given: sessions of every platform.")
    session_types: Many[SessionType] = ()
    agent_ids: Many[Id] = ()
    owners: Many[Id] = ()
    tags: Many[Name] = Field(default=(), description="Sessions that have all of these.")


_NEEDED: dict[ExpiryStrategy, tuple[str, ...]] = {
    ExpiryStrategy.TIME: ("max_age",),
    ExpiryStrategy.ACTIVITY: ("idle_for",),
    ExpiryStrategy.USAGE: ("max_messages",),
    ExpiryStrategy.HYBRID: ("max_age", "idle_for", "max_messages"),
    ExpiryStrategy.CUSTOM: ("custom",),
}

AFTER: Final[Mapping[CleanupAction, frozenset[CleanupAction]]] = {
    CleanupAction.EXPIRE: frozenset({CleanupAction.ARCHIVE, CleanupAction.DELETE}),
    CleanupAction.MERGE: frozenset({CleanupAction.ARCHIVE, CleanupAction.DELETE}),
    CleanupAction.ARCHIVE: frozenset({CleanupAction.DELETE}),
    CleanupAction.DELETE: frozenset(),
}
"""What a session that an action has ended can still become."""


def _name_of(given: dict[str, Any]) -> str:
    return str(given.get("rule_id", ""))


class ExpiryRule(Contract):
    """When which sessions end, and how. Of several that hold for one the highest priority is applied.

    Those below it wait as long as it holds, even once all its steps were taken: the graver rule needs the higher
    priority. Activity makes a rule begin anew whose condition it ends or puts off; a session's age, and how many
    messages it has, it does not.
    """

    rule_id: Id
    name: Name = Field(default_factory=_name_of, description="By default its id.")
    strategy: ExpiryStrategy
    conditions: Conditions
    actions: Many[Annotated[Step, BeforeValidator(_as_step)]] = Field(min_length=1, max_length=16)
    priority: int = 0
    enabled: bool = True
    warn_before: Seconds | None = Field(default=None, description="Seconds before the condition holds: a warning.")

    @model_validator(mode="after")
    def _has_what_it_looks_at(self) -> Self:
        given = {name for name in ("max_age", "idle_for", "max_messages", "custom") if getattr(self.conditions, name)}
        needed = set(_NEEDED[self.strategy])
        if self.strategy is ExpiryStrategy.HYBRID:
            if len(given & needed) < 2 or given - needed:
                raise ValueError("a hybrid rule needs two or three of max_age, idle_for and max_messages")
        elif given != needed:
            raise ValueError(f"a rule by {self.strategy} needs the condition {needed.pop()}, and no other")
        return self

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        """Hold the steps to what a session that has ended can still become: archived, then deleted."""
        over: CleanupAction | None = None
        for action in (step.action for step in self.actions):
            if over is not None and action not in AFTER[over]:
                raise ValueError(f"the action {action} can't follow {over}: the session has ended by then")
            over = action if action.ends else None
        return self


class ExpiryProgress(Announced):
    """The last step of a rule that was taken."""

    rule_id: Id
    step: int = Field(ge=-1, description="Counted from 0; -1 is the warning.")
    action: CleanupAction
    at: Timestamp
    messages: int = Field(default=0, ge=0, description="How many messages the session had then.")


class ArchiveRef(Announced):
    """Where an archived session is, and what was put there."""

    url: str = Field(min_length=1, max_length=4096, description="fsspec URL of the file.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its lines, uncompressed.")
    sequence: int = Field(ge=1, description="The session's last event in it.")
    messages: int = Field(ge=0)
    at: Timestamp


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}; names are those of the IANA database") from None
    return name


class ResetPolicy(Contract):
    """When a conversation begins a new session although the last one has not ended: never, unless something is set.

    The message that makes it begin anew is the new session's first.
    """

    idle_minutes: float | None = Field(default=None, gt=0, le=52_560_000, description="Since the last activity.")
    daily_hour: int | None = Field(
        default=None, ge=0, le=23, description="Local hour in `time_zone`: sessions that began before it end."
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    words: Many[Name] = Field(default=(), description="Texts that reset, such as /new; case does not matter.")
    platforms: Many[Platform] = Field(default=(), description="None given: all.")
    session_types: Many[SessionType] = ()


class ErasureReceipt(Announced):
    """What was erased of a user. Holds no id of theirs: `subject` is a keyed digest."""

    receipt_id: Id
    subject: Id
    at: Timestamp
    sessions: Many[SessionIdField]
    messages: int = Field(ge=0)
    archives: int = Field(ge=0)
    records: int = Field(ge=0)
    parked: int = Field(ge=0)
    keys: int = Field(default=0, ge=0, description="Data keys destroyed: what was encrypted with them is gone.")
    keys_apart: bool = Field(
        default=False, description="Whether data keys are in a store of their own, which old backups don't hold."
    )
