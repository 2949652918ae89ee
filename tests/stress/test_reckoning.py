"""The reckoning finds what is wrong: each rule, broken once."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any

import pytest

from agentbus.contracts.errors import AccessDenied, EditConflict, LockLost, ReplyTimeout, SessionNotFound
from agentbus.contracts.ids import SessionId
from agentbus.sessions import Permission, SessionManager
from tests.stress.audit import check_log
from tests.stress.caller import Caller, as_text
from tests.stress.ledger import Ledger
from tests.stress.model import DELETED, Access, Key, Outcome, Right, SessionModel
from tests.stress.report import Report
from tests.stress.world import Plan

ANN, BOB = "ann", "bob"
FIRST, SECOND = ("message", "1"), ("message", "2")


def session() -> SessionModel:
    numbers = count()
    return SessionModel(SessionId("s.1"), ANN, lambda: float(next(numbers)))


def settled(model: SessionModel, key: Key, outcome: Outcome) -> None:
    model.settle(model.began(key, ANN), outcome)


def broken_by(model: SessionModel, *found: Key) -> set[str]:
    ledger = Ledger()
    check_log(model, found, ledger)
    return set(ledger.breaches)


def test_a_log_as_it_should_be_breaks_nothing() -> None:
    model = session()
    settled(model, FIRST, Outcome.CONFIRMED)
    settled(model, SECOND, Outcome.REFUSED)
    settled(model, ("message", "3"), Outcome.UNCERTAIN)
    assert broken_by(model, FIRST) == broken_by(model, FIRST, ("message", "3")) == set()


@pytest.mark.parametrize(
    ("outcome", "found", "rule"),
    [
        (Outcome.CONFIRMED, (), "confirmed effect is missing"),
        (Outcome.CONFIRMED, (FIRST, FIRST), "effect is doubled"),
        (Outcome.UNCERTAIN, (FIRST, FIRST), "effect is doubled"),
        (Outcome.REFUSED, (FIRST,), "refused call had an effect"),
        (Outcome.UNCERTAIN, (SECOND,), "effect that nobody asked for"),
    ],
)
def test_a_wrong_log_is_found(outcome: Outcome, found: tuple[Key, ...], rule: str) -> None:
    model = session()
    settled(model, FIRST, outcome)
    assert broken_by(model, *found) == {rule}


def test_the_order_of_calls_is_that_of_the_log_unless_they_overlapped() -> None:
    model = session()
    settled(model, FIRST, Outcome.CONFIRMED)
    settled(model, SECOND, Outcome.CONFIRMED)
    assert broken_by(model, SECOND, FIRST) == {"out of order"}
    overlapping = session()
    effects = [overlapping.began(key, ANN) for key in (FIRST, SECOND)]
    for effect in effects:
        overlapping.settle(effect, Outcome.CONFIRMED)
    assert broken_by(overlapping, SECOND, FIRST) == set()


def test_a_lost_update_is_found() -> None:
    model = session()
    keys = [("data", "locked", as_text([number, name])) for number, name in ((1, "a"), (2, "b"), (2, "c"))]
    for key in keys:
        settled(model, key, Outcome.CONFIRMED)
    assert broken_by(model, *keys) == {"update was lost"}


async def judged(call: Callable[[Caller, SessionModel], Awaitable[Any]], model: SessionModel, user: str = BOB) -> Any:
    ledger = Ledger()
    await call(Caller(user, SessionManager(None), SessionManager(None), ledger, Random(1)), model)
    return list(ledger.breaches)


def raising(*errors: Exception) -> Callable[[], Awaitable[bool]]:
    left = list(errors)

    async def attempt() -> bool:
        if left:
            raise left.pop(0)
        return True

    return attempt


@pytest.mark.parametrize(
    ("access", "error", "rule"),
    [
        (Access(), AccessDenied(), None),
        (Access(), EditConflict(), "forbidden call not denied"),
        (Access(public=True), AccessDenied(), None),
        (Access(shares={BOB: Permission.READ}), AccessDenied(), None),
        (Access(shares={BOB: Permission.WRITE}), AccessDenied(), "allowed call denied"),
        (Access(shares={BOB: Permission.WRITE}), EditConflict(), "conflict without another writer"),
        (Access(shares={BOB: Permission.WRITE}), LockLost(), "lock lost while it was held"),
        (Access(shares={BOB: Permission.WRITE}), SessionNotFound(), "session not found"),
        (Access(shares={BOB: Permission.WRITE}), ZeroDivisionError(), "unexpected error"),
        (DELETED, AccessDenied(), None),
    ],
)
async def test_a_wrong_answer_is_found(access: Access, error: Exception, rule: str | None) -> None:
    model = session()
    model.may_be(access)
    breaches = await judged(partial(write, attempt=raising(error)), model)
    assert breaches == ([rule] if rule else [])


@pytest.mark.parametrize("access", [Access(), Access(public=True), Access(shares={BOB: Permission.READ}), DELETED])
async def test_a_forbidden_call_that_succeeds_is_found(access: Access) -> None:
    model = session()
    model.may_be(access)
    breaches = await judged(partial(write, attempt=raising()), model)
    assert breaches == ["forbidden call succeeded"]


async def test_either_answer_is_right_while_access_changes() -> None:
    for attempt in (raising(), raising(AccessDenied())):
        model = session()
        model.may_be(Access(), Access(shares={BOB: Permission.WRITE}))
        assert await judged(partial(write, attempt=attempt), model) == []


async def write(caller: Caller, model: SessionModel, *, attempt: Callable[[], Awaitable[bool]]) -> None:
    await caller.call("write", model, Right.WRITE, attempt)


async def test_a_conflict_with_someone_else_is_right() -> None:
    model = session()
    settled(model, ("data", "topic", "1"), Outcome.CONFIRMED)
    effect = model.began(("data", "topic", "2"), ANN)

    async def save(caller: Caller, one: SessionModel, *, read_at: float) -> None:
        await caller.call("write", one, Right.WRITE, raising(EditConflict()), effects=[effect], read_at=read_at)

    assert await judged(partial(save, read_at=0.5), model, ANN) == []
    assert await judged(partial(save, read_at=1.5), model, ANN) == ["conflict without another writer"]


async def test_a_call_without_an_answer_is_made_again_and_its_refusal_says_nothing_of_the_first() -> None:
    model = session()
    again, refused = (model.began(key, BOB) for key in (FIRST, SECOND))

    async def both(caller: Caller, one: SessionModel) -> None:
        await caller.call("read", one, Right.NONE, raising(ReplyTimeout()), effects=[again])
        await caller.call("write", one, Right.WRITE, raising(ReplyTimeout(), AccessDenied()), effects=[refused])

    assert await judged(both, model) == []
    assert (again.outcome, refused.outcome) == (Outcome.CONFIRMED, Outcome.UNCERTAIN)


def test_a_reader_may_see_what_was_confirmed_last_or_what_nobody_knows_of() -> None:
    model = session()
    assert model.readable("data", "a") == {None}
    settled(model, ("data", "a", "1"), Outcome.UNCERTAIN)
    assert model.readable("data", "a") == {None, "1"}
    settled(model, ("data", "a", "2"), Outcome.CONFIRMED)
    settled(model, ("data", "a", "3"), Outcome.UNCERTAIN)
    settled(model, ("data", "a", "4"), Outcome.REFUSED)
    assert model.readable("data", "a") == {"2", "3"}


def test_where_no_call_was_made_the_figures_are_zero() -> None:
    told = Report(Plan(), seconds=1.0, sessions=0, ledger=Ledger()).figures()
    assert (told["p50_ms"], told["p99_ms"], told["longest_ms"]) == (0, 0, 0)


def test_a_plan_needs_users_enough() -> None:
    with pytest.raises(ValueError, match="users"):
        Plan(users=10)
