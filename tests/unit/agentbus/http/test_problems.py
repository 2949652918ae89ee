"""How errors are told: each kind by its status, none with what is not for whoever called."""

import re
from typing import Final

import pytest

from agentbus.contracts.errors import (
    AccessDenied,
    AgentBusError,
    BrokerUnavailable,
    Refused,
    ReplyTimeout,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.http.problems import STATUSES, answer_of, problem_of, status_of
from tests.harness.processes import ROOT

OURS: Final = ("contracts", "storage", "workers", "agentbus")


def kinds() -> set[str]:
    """Return the codes of the errors in all our files: a class is one if its base, by that one's name, is."""
    text = "\n".join(file.read_text("utf-8") for one in OURS for file in sorted((ROOT / one).rglob("*.py")))
    bases = dict(re.findall(r"^class (\w+)\((\w+)[),]", text, re.MULTILINE))
    found = {"AgentBusError"}
    while more := {name for name, base in bases.items() if base in found} - found:
        found |= more
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_") for name in found}


def test_each_kind_of_error_has_its_status() -> None:
    """Those of all modules: a new one is to be thought about, whichever module it is in."""
    ours = kinds() - {"agent_bus_error"} | {"error"}
    assert ours - STATUSES.keys() == set(), "give them a status"
    assert STATUSES.keys() - ours == set(), "there are no such errors"
    assert set(STATUSES.values()) <= {
        400,
        401,
        403,
        404,
        405,
        408,
        409,
        410,
        412,
        413,
        422,
        429,
        500,
        503,
        504,
        507,
    }


class OfALaterRelease(SessionNotFound):
    """No such session, in other words."""


def test_a_kind_that_is_not_in_the_table_is_answered_as_the_one_that_it_is_of() -> None:
    assert status_of(OfALaterRelease()) == 404


@pytest.mark.parametrize("error", [StoreUnavailable, BrokerUnavailable, ReplyTimeout, AgentBusError])
def test_what_is_wrong_here_is_not_told_to_whoever_calls(error: type[AgentBusError]) -> None:
    answer = answer_of(error("mongodb://ann:secret@db.internal:27017 does not answer"))
    assert answer.status_code >= 500
    assert b"internal" not in answer.body
    assert b"secret" not in answer.body


def test_what_is_wrong_with_the_call_is() -> None:
    problem = problem_of(AccessDenied("no such session, or no access to it"))
    assert problem.model_dump(exclude_none=True) == {
        "type": "urn:agentbus:access_denied",
        "title": "No such session, or no access to it.",
        "status": 403,
        "code": "access_denied",
        "detail": "no such session, or no access to it",
    }
    told = problem_of(Refused(f"amqp://u:pw@h ab_{'a' * 10}_{'b' * 52} \ud800")).detail
    assert told == f"amqp://u:***@h ab_{'a' * 10}_*** \\ud800"


def test_who_may_come_again_is_told_when() -> None:
    assert answer_of(StoreUnavailable()).headers["retry-after"] == "1"
    assert "retry-after" not in answer_of(SessionNotFound()).headers
