"""What each call is declared with: its role, its query, its body; and each cell of role by call."""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
import structlog
from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from agentbus import operations
from agentbus.http import app as app_module
from agentbus.http.app import make_app
from agentbus.http.calls import FOR_USERS, ROLE, Calls
from agentbus.http.routes import ROUTERS
from agentbus.operations.api_keys import Role
from agentbus.sessions.system import SessionSystem
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.api import World, a_message
from tests.unit.agentbus.http.reach import LIBRARY, OPERATIONS

ROLES: Final = {
    "DELETE /v1/expiry/rules/{rule_id}": Role.OPERATE,
    "DELETE /v1/identities/{identity_key}/policy": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}": Role.ADMIN,
    "DELETE /v1/sessions/{session_id}/checkpoints": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}/checkpoints/{checkpoint_id}": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}/identity": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}/lock/{token}": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}/messages": Role.OPERATE,
    "DELETE /v1/sessions/{session_id}/shares/{user}": Role.OPERATE,
    "DELETE /v1/templates/{name}": Role.OPERATE,
    "GET /v1/archive": Role.READ,
    "GET /v1/backups": Role.READ,
    "GET /v1/backups/{backup_id}": Role.READ,
    "GET /v1/conflicts": Role.READ,
    "GET /v1/events": Role.READ,
    "GET /v1/expiry/rules": Role.READ,
    "GET /v1/expiry/rules/{rule_id}": Role.READ,
    "GET /v1/expiry/statistics": Role.READ,
    "GET /v1/identities/{identity_key}": Role.READ,
    "GET /v1/identities/{identity_key}/policy": Role.READ,
    "GET /v1/identities/{identity_key}/sync": Role.READ,
    "GET /v1/jobs": Role.READ,
    "GET /v1/jobs/{job_id}": Role.READ,
    "GET /v1/openapi.json": Role.READ,
    "GET /v1/parked": Role.READ,
    "GET /v1/parked/{parked_id}": Role.READ,
    "GET /v1/partitions": Role.READ,
    "GET /v1/replies": Role.READ,
    "GET /v1/sessions": Role.READ,
    "GET /v1/sessions/{session_id}": Role.READ,
    "GET /v1/sessions/{session_id}/audit": Role.READ,
    "GET /v1/sessions/{session_id}/checkpoints": Role.READ,
    "GET /v1/sessions/{session_id}/checkpoints/{checkpoint_id}": Role.READ,
    "GET /v1/sessions/{session_id}/events": Role.READ,
    "GET /v1/sessions/{session_id}/identity": Role.READ,
    "GET /v1/sessions/{session_id}/messages": Role.READ,
    "GET /v1/sessions/{session_id}/prediction": Role.READ,
    "GET /v1/sessions/{session_id}/sync": Role.READ,
    "GET /v1/sessions/{session_id}/tracked-events": Role.READ,
    "GET /v1/sessions/{session_id}/usage": Role.READ,
    "GET /v1/state-machine": Role.READ,
    "GET /v1/statistics": Role.READ,
    "GET /v1/statistics/predictions": Role.READ,
    "GET /v1/statistics/states": Role.READ,
    "GET /v1/statistics/usage": Role.READ,
    "GET /v1/suggestions": Role.READ,
    "GET /v1/sync/policy": Role.READ,
    "GET /v1/templates": Role.READ,
    "GET /v1/templates/{name}": Role.READ,
    "GET /v1/users/{user}/erasure": Role.ADMIN,
    "GET /v1/workers": Role.READ,
    "PATCH /v1/expiry/rules/{rule_id}": Role.OPERATE,
    "PATCH /v1/identities/{identity_key}/policy": Role.OPERATE,
    "PATCH /v1/sessions/{session_id}": Role.OPERATE,
    "PATCH /v1/sync/policy": Role.OPERATE,
    "POST /v1/archive/{session_id}/restore": Role.ADMIN,
    "POST /v1/backups": Role.ADMIN,
    "POST /v1/backups/prune": Role.ADMIN,
    "POST /v1/backups/verify": Role.ADMIN,
    "POST /v1/backups/{backup_id}/restore": Role.ADMIN,
    "POST /v1/backups/{backup_id}/verify": Role.ADMIN,
    "POST /v1/conversations/{conversation_id}/replay": Role.OPERATE,
    "POST /v1/identities/{identity_key}/sessions": Role.OPERATE,
    "POST /v1/jobs/{job_id}/cancel": Role.ADMIN,
    "POST /v1/messages": Role.PUBLISH,
    "POST /v1/parked/{parked_id}/discard": Role.OPERATE,
    "POST /v1/parked/{parked_id}/replay": Role.OPERATE,
    "POST /v1/partitions/{partition}/hand-back": Role.OPERATE,
    "POST /v1/sessions": Role.OPERATE,
    "POST /v1/sessions/{session_id}/checkpoints": Role.OPERATE,
    "POST /v1/sessions/{session_id}/checkpoints/{checkpoint_id}/restore": Role.OPERATE,
    "POST /v1/sessions/{session_id}/claim-codes": Role.OPERATE,
    "POST /v1/sessions/{session_id}/close": Role.OPERATE,
    "POST /v1/sessions/{session_id}/conflicts/resolve": Role.OPERATE,
    "POST /v1/sessions/{session_id}/extend": Role.OPERATE,
    "POST /v1/sessions/{session_id}/lock": Role.OPERATE,
    "POST /v1/sessions/{session_id}/lock/{token}/renew": Role.OPERATE,
    "POST /v1/sessions/{session_id}/messages": Role.OPERATE,
    "POST /v1/sessions/{session_id}/refresh": Role.OPERATE,
    "POST /v1/sessions/{session_id}/replies": Role.OPERATE,
    "POST /v1/sessions/{session_id}/replies/{number}/resolve": Role.OPERATE,
    "POST /v1/sessions/{session_id}/state": Role.OPERATE,
    "POST /v1/sessions/{session_id}/sync": Role.OPERATE,
    "POST /v1/sessions/{session_id}/template": Role.OPERATE,
    "POST /v1/sessions/{session_id}/tracked-events": Role.OPERATE,
    "POST /v1/sessions/{session_id}/unblock": Role.OPERATE,
    "POST /v1/suggestions/{suggestion_id}/confirm": Role.OPERATE,
    "POST /v1/suggestions/{suggestion_id}/dismiss": Role.OPERATE,
    "POST /v1/users/{user}/erasure": Role.ADMIN,
    "PUT /v1/expiry/rules/{rule_id}": Role.OPERATE,
    "PUT /v1/sessions/{session_id}/shares/{user}": Role.OPERATE,
    "PUT /v1/sessions/{session_id}/visibility": Role.OPERATE,
    "PUT /v1/templates/{name}": Role.OPERATE,
}
"""Which role each call needs. Who adds a call says it here too: that is to be thought about twice."""


def declared() -> dict[str, dict[str, Any]]:
    """Return what each call is declared with."""
    paths: dict[str, dict[str, Any]] = make_app().openapi()["paths"]
    return {f"{method.upper()} {path}": call for path, calls in paths.items() for method, call in calls.items()}


def test_each_call_needs_the_role_that_was_agreed() -> None:
    assert {call: Role(given[ROLE]) for call, given in declared().items()} == ROLES


def test_what_is_served_is_what_is_declared() -> None:
    """A route beside the declared calls would have no role: FastAPI lists it, and the document does not."""
    routes = {
        f"{method} {getattr(route, 'path', None)}"
        for one in ROUTERS
        for route in one.routes
        for method in getattr(route, "methods", ())
    }
    assert routes == ROLES.keys()


def of_operations() -> set[str]:
    """Return what `agentbus.operations` offers, by module and function."""
    found = set()
    for one in pkgutil.iter_modules(operations.__path__):
        if not one.ispkg:
            module = importlib.import_module(f"agentbus.operations.{one.name}")
            found |= {
                f"{one.name}.{name}"
                for name, thing in vars(module).items()
                if inspect.isfunction(thing) and thing.__module__ == module.__name__ and not name.startswith("_")
            }
    return found


def of_the_library() -> set[str]:
    return {name for name in dir(SessionSystem) if not name.startswith("_") and callable(getattr(SessionSystem, name))}


@pytest.mark.parametrize(("offered", "table"), [(of_operations, OPERATIONS), (of_the_library, LIBRARY)])
def test_what_can_be_done_has_a_call_or_a_reason(offered: Callable[[], set[str]], table: dict[str, str]) -> None:
    missing = offered() - table.keys()
    assert not missing, f"make a call for each, or say in reach.py why there is none: {missing}"
    assert not table.keys() - offered(), "there is no such thing any more"
    calls = {where for where in table.values() if where.split(" /")[0] in {"GET", "POST", "PUT", "PATCH", "DELETE"}}
    named = {where for where in calls if len(where.split()) == 2}
    assert named <= ROLES.keys(), "there is no such call"


async def nothing() -> Response:
    return Response()


@pytest.mark.parametrize("by", ["add_api_route", "get"])
def test_a_call_without_a_role_is_not_served(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = APIRouter()
    plain.add_api_route("/v1/open", nothing) if by == "add_api_route" else plain.get("/v1/open")(nothing)
    monkeypatch.setattr(app_module, "ROUTERS", (plain,))
    with pytest.raises(ValueError, match="/v1/open names no role"):
        make_app()
    with pytest.raises(KeyError):
        Calls("subject").add_api_route("/open", nothing)


async def test_each_cell_of_role_and_call(world: World) -> None:
    keys = {role: await world.key(role) for role in Role}
    found: dict[tuple[str, str], bool] = {}
    for call in ROLES:
        method, path = call.split()
        at = path.replace("{", "a-").replace("}", "")
        for role, key in keys.items():
            async with world.caller(key) as by:
                answer = await by.request(method, at, json={} if method != "GET" else None)
            assert answer.status_code != 401
            found[call, role] = answer.status_code != 403
        async with world.caller() as nobody:
            answer = await nobody.request(method, at)
        found[call, "nobody"] = answer.status_code != 401
    expected = {(call, role): role is ROLES[call] for call in ROLES for role in Role}
    assert found == expected | {(call, "nobody"): False for call in ROLES}


async def test_what_is_no_users_is_refused_on_behalf_of_one(world: World) -> None:
    key = await world.key(*Role)
    for call, given in declared().items():
        method, path = call.split()
        async with world.caller(key, user="ann") as by:
            answer = await by.request(method, path.replace("{", "a-").replace("}", ""))
        refused = answer.headers["content-type"] == "application/problem+json" and (
            answer.json().get("code") == "not_allowed"
        )
        assert refused is not given[FOR_USERS], call


async def test_what_is_not_known_in_a_query_or_a_body_is_refused(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as by:
        for path in ("/v1/sessions", "/v1/workers", "/v1/openapi.json"):
            answer = await by.get(path, params={"statu": "active"})
            assert (answer.status_code, answer.json()["code"]) == (422, "schema_violation"), path
        answer = await by.post("/v1/messages", json=a_message() | {"texts": "hello"})
    assert answer.status_code == 422
    assert [one["at"] for one in answer.json()["errors"]] == ["body.texts"]


async def chunks_of(count: int, size: int = 1000) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def test_a_body_is_read_only_as_far_as_it_may_be_large(world: World) -> None:
    world.api.parts.bodies.largest = 5000
    key = await world.key(Role.PUBLISH)
    async with world.caller(key) as by:
        told = await by.post("/v1/messages", content=b" " * 6000)
        streamed = await by.post("/v1/messages", content=chunks_of(1000))
        negative = await by.post("/v1/messages", content=chunks_of(1), headers={"Content-Length": "-1"})
    assert [one.status_code for one in (told, streamed, negative)] == [413, 413, 413]
    assert world.api.parts.bodies.held == 0


async def test_nothing_of_a_body_is_read_for_who_may_not_make_the_call(world: World) -> None:
    read: list[bool] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    key = await world.key(Role.READ)
    async with world.caller(key) as by:
        assert (await by.post("/v1/messages", content=body())).status_code == 403
    async with world.caller() as nobody:
        assert (await nobody.post("/v1/messages", content=body())).status_code == 401
    assert not read


async def test_one_who_sends_slowly_is_sent_away_and_so_is_who_comes_while_too_much_is_held(world: World) -> None:
    arrived, never = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 600
        arrived.set()
        await never.wait()

    world.api.parts.bodies.most_held = 1000
    key = await world.key(Role.PUBLISH)
    async with world.caller(key) as by:
        waiting = asyncio.create_task(by.post("/v1/messages", content=slow()))
        await arrived.wait()
        full = await by.post("/v1/messages", content=b" " * 600)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert world.api.parts.bodies.held == 0, "also of one whose caller went away"
        world.api.parts.bodies.seconds = 0.01
        late = await by.post("/v1/messages", content=slow())
    assert (full.status_code, full.headers["retry-after"]) == (503, "1")
    assert late.status_code == 408
    assert world.api.parts.bodies.held == 0


async def test_bytes_that_are_no_json_are_answered_as_such(world: World) -> None:
    key = await world.key(Role.PUBLISH)
    bodies = [
        b"{",
        b'{"a": 1e999}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff",
        b"1" * 10_000,
        b'"\\ud800"',
        b"NaN",
        b"",
    ]
    async with world.caller(key) as by:
        for body in bodies:
            answer = await by.post("/v1/messages", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in {400, 422}, body[:10]
            assert answer.headers["content-type"] == "application/problem+json", body[:10]


async def test_what_is_wrong_very_often_is_told_without_an_error_for_each(world: World) -> None:
    key = await world.key(*Role)
    many = {str(number): "" for number in range(40_000)}
    spaced = "{" + ",".join(f'"{number}"\n\t:0' for number in range(60_000)) + "}"
    async with world.caller(key) as by:
        numbers = await by.patch("/v1/sessions/x", json={"data": {"increment": many}})
        members = await by.post("/v1/messages", json={str(number): "" for number in range(60_000)})
        apart = await by.post("/v1/messages", content=spaced, headers={"Content-Type": "application/json"})
    assert [(one["at"], one["what"]) for one in numbers.json()["errors"]] == [
        ("body.data.increment", "Value error, not all are numbers")
    ]
    assert [one.status_code for one in (numbers, members, apart)] == [422, 413, 413]


async def test_a_change_is_in_the_log_also_if_nobody_waits_for_its_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Inputs, "request", for_ever)
    key = await world.key(Role.PUBLISH)
    with structlog.testing.capture_logs() as lines:
        async with world.caller(key, user="ann") as by:
            calling = asyncio.create_task(by.post("/v1/messages", json=a_message()))
            await begun.wait()
            calling.cancel()
            await asyncio.wait([calling])
    [line] = [line for line in lines if line["event"] == "api_changed"]
    assert (line["call"], line["user"], line["status"]) == ("POST /v1/messages", "ann", 0)
    assert line["by"].startswith("key:")


def test_the_document_names_each_schema_plainly() -> None:
    app: FastAPI = make_app()
    schemas = app.openapi()["components"]["schemas"]
    assert "Platform" in schemas
    assert [name for name in schemas if "__" in name] == []
