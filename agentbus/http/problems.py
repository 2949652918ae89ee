"""What goes wrong, as those who call read it: problem details (RFC 9457), from our typed errors by one table."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Announced, Many
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.text import encodable
from agentbus.contracts.urls import masked_in
from agentbus.operations.api_keys import without_keys

MEDIA_TYPE: Final = "application/problem+json"

RETRY_SECONDS: Final = 1
"""What whoever calls is asked to wait, where it is not said for how long."""

_MOST_SHOWN: Final = 20
_LONGEST: Final = 1000
"""Characters of what is said about one thing that is wrong: it may quote what was sent."""


class Refusal(AgentBusError):
    """The call is refused."""


class NotAuthenticated(Refusal):
    """A key is needed: Authorization: Bearer ab_..."""


class NotAllowed(Refusal):
    """The key is not for this."""


class NotFromHere(Refusal):
    """Not from another web page."""


class TooManyCalls(Refusal):
    """More calls than are taken from one key."""


class TooSlow(Refusal):
    """The body did not come to its end in time."""


class PreconditionFailed(Refusal):
    """It has been changed since: read it again, then decide."""


class NotThere(Refusal):
    """There is nothing at this address."""


class NoSuchMethod(Refusal):
    """There is no such method at this address."""


class BodyUnreadable(Refusal):
    """The body can't be read."""


class Ending(Refusal):
    """This server is about to end: call again."""


class StillAtIt(Refusal):
    """It takes longer than a call may: it goes on when it is called again."""


class ServerFault(AgentBusError):
    """Something is wrong here; the log of the server says what."""


STATUSES: Final[Mapping[str, int]] = {
    "error": 500,
    # InvalidInput
    "invalid_input": 422,
    "too_large": 413,
    "undecodable": 400,
    "unsupported_type": 422,
    "schema_violation": 422,
    "future_timestamp": 422,
    "killed_worker": 422,
    "wrong_partition": 500,
    # Refused
    "refused": 409,
    "session_not_found": 404,
    "target_not_found": 404,
    "session_not_current": 409,
    "conversation_blocked": 409,
    "access_denied": 403,
    "untrusted_sender": 500,  # it is our own user at the broker that may not
    "edit_conflict": 409,
    "lock_lost": 409,
    "request_reused": 422,
    "identity_conflict": 409,
    "claim_refused": 422,
    "user_erased": 410,
    "limit_exceeded": 409,
    "replies_waiting": 409,
    "reply_not_found": 404,
    "partition_not_found": 404,
    "worker_not_found": 404,
    "hand_back_refused": 409,
    "transition_forbidden": 409,
    "checkpoint_not_found": 404,
    "template_not_found": 404,
    # StoreError
    "store_error": 503,
    "store_unavailable": 503,
    "store_rejected": 500,
    "store_damaged": 500,
    "key_missing": 500,
    "migration_refused": 500,
    "migration_differs": 500,
    "fenced": 503,
    "version_conflict": 503,
    "duplicate_input": 503,
    # BusError
    "bus_error": 503,
    "broker_unavailable": 503,
    "broker_rejected": 500,
    "broker_blocked": 503,
    "publish_unconfirmed": 503,
    "unroutable": 503,
    "topology_mismatch": 500,
    "reply_timeout": 504,
    # ArchiveError, BackupError
    "archive_error": 500,
    "archive_unavailable": 503,
    "archive_damaged": 500,
    "archive_not_found": 404,
    "backup_error": 500,
    "backup_unavailable": 503,
    "backup_full": 507,
    "backup_damaged": 500,
    "backup_not_found": 404,
    "backup_refused": 409,
    # the rest of the tree
    "state_error": 500,
    "state_mismatch": 409,
    "state_not_found": 404,
    "reject": 500,
    "lock_timeout": 409,
    "feature_not_enabled": 409,
    "not_initialized": 503,
    "configuration_error": 500,
    "installation_mismatch": 500,
    "migration_unfinished": 500,
    # of what stands beside the tree
    "invalid_cursor": 422,
    "parked_not_found": 404,
    "replay_refused": 409,
    "rule_not_found": 404,
    "suggestion_not_found": 404,
    "api_key_not_found": 404,
    "job_not_found": 404,
    "job_running": 409,
    "contract_broken": 500,
    # of the API itself
    "refusal": 400,
    "issuer_silent": 503,
    "not_authenticated": 401,
    "not_allowed": 403,
    "not_from_here": 403,
    "too_many_calls": 429,
    "too_slow": 408,
    "precondition_failed": 412,
    "not_there": 404,
    "no_such_method": 405,
    "body_unreadable": 400,
    "bad_place": 400,
    "place_gone": 410,
    "too_many_streams": 503,
    "ending": 503,
    "still_at_it": 503,
    "server_fault": 500,
    # of parts that no call reaches: that one does is a fault of ours
    **dict.fromkeys(
        (
            *("another_change", "collided", "demo_stuck", "handler_failed", "history_unreadable", "malformed"),
            *("media_address_refused", "media_error", "media_not_found", "media_too_large", "media_type_refused"),
            *("media_unavailable", "no_room", "not_now", "notification_failed", "overtaken", "replay_stalled"),
            *("server_unavailable", "still_at_work", "still_blocked", "unverified"),
        ),
        500,
    ),
}
"""The status of an answer, by the code of the error. A kind that is not here is answered as the one that it is of."""

_LATER: Final = frozenset({429, 503, 504})


class WrongField(Announced):
    """Something that is wrong in what was sent."""

    at: str = Field(description="Where: `body.address.chat`, `query.limit`.")
    what: str


class Problem(Announced, defer_build=False):
    """Problem details (RFC 9457)."""

    type: str = Field(description="`urn:agentbus:` and the code.")
    title: str = Field(description="The kind of error, in words that are always the same.")
    status: int
    code: str = Field(description="The kind of error, for programs.")
    detail: str | None = Field(default=None, description="What is wrong this time.")
    errors: Many[WrongField] | None = Field(default=None, description="Each thing that is wrong, up to 20.")


def status_of(error: AgentBusError) -> int:
    """Return the status by which an error is answered."""
    return next(
        STATUSES[kind.code] for kind in type(error).__mro__ if issubclass(kind, AgentBusError) and kind.code in STATUSES
    )


def problem_of(error: AgentBusError, wrong: Sequence[WrongField] | None = None) -> Problem:
    """Return an error as it is told to whoever called. What is wrong here is told to our log alone."""
    status = status_of(error)
    ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Problem(
        type=f"urn:agentbus:{error.code}",
        title=(type(error).__doc__ or "").partition("\n")[0],
        status=status,
        code=error.code,
        detail=None if ours else _shown(str(error)),
        errors=tuple(wrong[:_MOST_SHOWN]) if wrong else None,
    )


def answer_of(
    error: AgentBusError, wrong: Sequence[WrongField] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer that tells an error."""
    problem = problem_of(error, wrong)
    told = dict(headers or {})
    if problem.status in _LATER:
        told.setdefault("Retry-After", str(RETRY_SECONDS))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        told["WWW-Authenticate"] = 'Bearer realm="agentbus"'
    content = problem.model_dump_json(exclude_none=True)
    return Response(content, problem.status, told, media_type=MEDIA_TYPE)


def wrong_fields(errors: Sequence[Any]) -> list[WrongField]:
    """Return what FastAPI found wrong, without what was sent."""
    return [
        WrongField(at=_shown(".".join(map(str, one["loc"]))), what=_shown(str(one["msg"])))
        for one in errors[:_MOST_SHOWN]
    ]


def _shown(text: str) -> str:
    """Return what may be shown of what is said about something, which may quote what was sent."""
    return encodable(without_keys(masked_in(text[:_LONGEST])))
