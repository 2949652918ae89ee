"""Figures: how many sessions there are, how they are used, what is likely to become of one, who owns what."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Id, Many
from agentbus.contracts.errors import AccessDenied, ConfigurationError, SchemaViolation
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.members import HandBack
from agentbus.contracts.session import SessionStatus
from agentbus.http.calls import By, Calls, Query, With, answered
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.shown import Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.tracking import Period, Prediction, assess_predictions, predict_session, usage_patterns
from agentbus.operations.workers import partitions, session_workers
from agentbus.sessions.model.validation import checked_id
from agentbus.workers.domain.access import DENIED

calls = Calls("figures")


class Which(Query):
    """Which sessions are counted."""

    platform: Platform | None = None
    owner: Id | None = None
    agent: Id | None = None


class SessionFigures(Shown):
    """Figures about sessions; deleted ones don't count."""

    total: int
    by_status: dict[SessionStatus, int]
    messages: int = Field(description="Messages appended to them.")
    mean_seconds: float = Field(description="Mean time from a session's start to its last activity; 0 for none.")


class Span(Query):
    """Of which time."""

    days: float = Field(default=7.0, gt=0, le=366, allow_inf_nan=False, description="Up to now.")
    zone: str = Field(default="UTC", pattern=r"^[A-Za-z0-9_+/-]{1,64}$", description="Such as Europe/Berlin.")
    period: Period = Field(default=Period.DAY, description="What the trend goes by.")


class SilenceShown(Shown):
    """A time in which nobody wrote anything."""

    since: str
    hours: int


class Trend(Shown):
    """One period of a trend."""

    begins: str
    messages: int
    sessions: int
    change: float | None = Field(description="Of messages, by the period before: 0.5 is half as many again.")


class Usage(Shown):
    """How sessions were used. Waits are in seconds, hours and weekdays in the time zone."""

    messages: dict[str, int] = Field(description="By the role of who said it.")
    sessions: int = Field(description="That began.")
    ended: dict[str, int] = Field(description="By how.")
    by_hour: Many[int] = Field(description="Messages of people, by the hour of the day.")
    by_weekday: Many[int] = Field(description="The same, from Monday on.")
    waits: dict[str, dict[str, float | int | None]]
    asked: int
    unanswered: int
    conversations: int
    returning: int
    silences: Many[SilenceShown]
    trend: Many[Trend]


class Likely(Shown):
    """How likely something is within some time, by what others of that age did."""

    within: dict[str, float | None] = Field(description="By `hour`, `day` and `week`.")
    median_hours: int | None
    based_on: int


class ChancesShown(Shown):
    """What is likely to become of a session."""

    session_id: str
    age_hours: int
    silent_hours: int | None
    returns: Likely | None = Field(description="That the person writes again.")
    ends: Likely | None = Field(description="That the session ends.")

    @classmethod
    def of(cls, found: Prediction) -> "ChancesShown":
        """Return a prediction as it is shown."""
        return cls(**{name: value for name, value in asdict(found).items() if name in cls.model_fields})


class Horizon(Query):
    """Within which time somebody comes back."""

    horizon: int = Field(default=24, ge=1, le=168, description="Hours.")


class AssessmentShown(Shown):
    """How far predictions were off, of what came later than that which they go by. 0 is best; for concordance 1 is."""

    cases: int
    brier: float | None
    same_for_all: float | None = Field(description="The Brier score of the chance that holds for all alike.")
    memoryless: float | None = Field(description="That of a hazard which does not change.")
    concordance: float | None


class PartitionShown(Shown):
    """A partition, and who consumes it."""

    partition: int
    owner: str | None = Field(description="The worker that consumes it; none: nobody does at the moment.")
    stands_by: Many[str] = Field(description="The workers that take it over when the owner goes.")
    stopped: bool = Field(description="Its owner has stopped it for a while, after too many failures.")
    hand_back: HandBack | None = Field(description="That somebody had it handed to another worker, if that holds.")


class Partitions(Shown):
    """All partitions."""

    items: Many[PartitionShown]


@calls.call("GET", "/statistics", Role.READ, answers=SessionFigures, for_users=True)
async def get_statistics(query: Annotated[Which, InQuery()], parts: With, by: By) -> Response:
    """Return how many sessions there are, and what they come to; on behalf of a user, theirs."""
    if by.user is not None and query.owner not in {None, by.user}:
        raise AccessDenied(DENIED)
    owner = by.user if by.user is not None else query.owner
    where = SessionFilter(platform=query.platform, owner=owner, agent_id=query.agent)
    return answered(SessionFigures(**dict(await parts.app.store.heads.statistics(where))))


@calls.call("GET", "/statistics/usage", Role.READ, answers=Usage)
async def get_usage(query: Annotated[Span, InQuery()], parts: With) -> Response:
    """Return how sessions were used in the last days, by the figures that tracking workers keep."""
    try:
        found = await usage_patterns(parts.app.store, days=query.days, zone=query.zone, period=query.period)
    except ConfigurationError as error:
        raise SchemaViolation(f"query.zone: {error}") from None
    shown = asdict(found)
    silences = tuple(SilenceShown(since=one.since.isoformat(), hours=one.hours) for one in found.silences)
    trend = tuple(Trend(**asdict(one) | {"begins": one.begins.isoformat()}) for one in found.trend)
    named = {name: shown[name] for name in Usage.model_fields if name not in {"silences", "trend"}}
    return answered(Usage(**named, silences=silences, trend=trend))


@calls.call("GET", "/sessions/{session_id}/prediction", Role.READ, answers=ChancesShown)
async def get_prediction(session_id: SessionPath, parts: With) -> Response:
    """Return how likely it is that somebody writes again in a session, and that it ends."""
    return answered(ChancesShown.of(await predict_session(parts.app, checked_id(session_id))))


@calls.call("GET", "/statistics/predictions", Role.READ, answers=AssessmentShown)
async def assess_returns(query: Annotated[Horizon, InQuery()], parts: With) -> Response:
    """Return how far off chances of a return were: by 45 days, of the 45 that followed."""
    return answered(AssessmentShown(**asdict(await assess_predictions(parts.app.store, query.horizon))))


@calls.call("GET", "/partitions", Role.READ, answers=Partitions)
async def list_partitions(parts: With) -> Response:
    """List all partitions: who owns each, who stands by for it, and which somebody had handed to another worker."""
    items = [
        PartitionShown(
            partition=one.partition,
            owner=one.owners[0] if one.owners else None,
            stands_by=tuple(one.stands_by),
            stopped=one.stopped,
            hand_back=one.hand_back,
        )
        for one in await partitions(parts.app, await session_workers(parts.app))
    ]
    return answered(Partitions(items=tuple(items)))
