"""Who calls, and what is open to this machine while there is no key."""

from datetime import timedelta

import pytest
import structlog
from starlette.requests import HTTPConnection

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.records import Record, RecordKind
from agentbus.http.access import BELIEVED_SECONDS, Doorkeeper, is_loopback
from agentbus.operations.api_keys import Role, any_key, create_key, key_id_in, list_keys, revoke_key
from agentbus.storage.memory import MemoryStore
from agentbus.workers.outages import SAID_AT_ONCE
from tests.harness.api import World, a_message, api_world

AT = "/v1/sessions"


async def test_without_any_key_this_machine_alone_is_let_in(world: World) -> None:
    async with world.caller() as here, world.caller(host="10.0.0.7") as elsewhere:
        assert (await here.get(AT)).status_code == 200
        assert (await elsewhere.get(AT)).status_code == 401


async def test_what_was_passed_on_by_somebody_is_not_of_this_machine(world: World) -> None:
    async with world.caller() as here:
        for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"):
            assert (await here.get(AT, headers={name: "127.0.0.1"})).status_code == 401, name


async def test_a_page_whose_name_leads_here_is_not_let_in(world: World) -> None:
    async with world.caller() as here:
        for host in ("evil.example", "127.0.0.1.evil.example:8090", "", "[::1", "localhost.evil.example"):
            answer = await here.get(AT, headers={"Host": host})
            assert (answer.status_code, answer.json()["code"]) == (403, "not_from_here"), host
        for host in ("localhost:8090", "[::1]:8090", "127.0.0.1", "LOCALHOST"):
            assert (await here.get(AT, headers={"Host": host})).status_code == 200, host


async def test_the_first_key_ends_it_for_good_also_when_it_is_revoked(world: World) -> None:
    async with world.caller() as here:
        assert (await here.get(AT)).status_code == 200
        key = await world.key(Role.READ)
        assert (await here.get(AT)).status_code == 401
        await revoke_key(world.app.store, world.app.clock, key_id_in(key) or "")
        assert (await here.get(AT)).status_code == 401
    async with World(world.app).caller() as after_a_restart:
        assert (await after_a_restart.get(AT)).status_code == 401


async def test_who_listens_beyond_this_machine_is_never_open() -> None:
    async with api_world(api_host="0.0.0.0") as world, world.caller() as here:  # noqa: S104 - it does not listen
        assert (await here.get(AT)).status_code == 401


async def test_a_change_is_not_made_from_another_web_page(world: World) -> None:
    foreign: list[dict[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]
    async with world.caller() as here:
        for headers in foreign:
            refused = await here.post("/v1/messages", json=a_message(), headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "not_from_here"), headers
        own = {"Origin": "http://127.0.0.1:8090", "Sec-Fetch-Site": "same-origin"}
        assert (await here.post("/v1/messages", json=a_message(), headers=own)).status_code == 200


async def test_what_is_no_key_is_told_so(world: World) -> None:
    async with world.caller() as here:
        for given in ["", "Bearer", "Basic abc", "Bearer ab_x_y", "Bearer a b", "Bearer \x7f"]:
            answer = await here.get(AT, headers={"Authorization": given})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="agentbus"'), given


async def test_another_secret_is_not_this_key_and_an_expired_one_is_none(world: World) -> None:
    key = await world.key(Role.READ)
    swapped = key[:-1] + ("a" if key[-1] != "a" else "b")
    short = await world.key(Role.READ, expires_in=1.0)
    clock = ManualClock(world.app.clock.now() + timedelta(seconds=2))
    doors = Doorkeeper(world.app.store, clock, local=True, rate=100)
    world.api.doorkeeper = doors
    for text, status in ((key, 200), (swapped, 401), (short, 401)):
        async with world.caller(text) as by:
            assert (await by.get(AT)).status_code == status


async def test_a_revoked_key_is_believed_in_for_some_seconds_and_no_longer(world: World) -> None:
    now = [0.0]
    world.api.doorkeeper = Doorkeeper(world.app.store, world.app.clock, local=True, rate=100, timer=lambda: now[0])
    key = await world.key(Role.READ)
    async with world.caller(key) as by:
        assert (await by.get(AT)).status_code == 200
        await revoke_key(world.app.store, world.app.clock, key_id_in(key) or "")
        now[0] = BELIEVED_SECONDS
        assert (await by.get(AT)).status_code == 401
        assert (await by.get(AT)).status_code == 401


async def test_each_key_has_its_own_pace(world: World) -> None:
    now = [0.0]
    world.api.doorkeeper = Doorkeeper(world.app.store, world.app.clock, local=True, rate=1, timer=lambda: now[0])
    one, other = await world.key(Role.READ), await world.key(Role.READ)
    async with world.caller(one) as by, world.caller(other) as beside:
        assert [(await by.get(AT)).status_code for _ in range(3)] == [200, 200, 429]
        assert (await by.get(AT)).headers["retry-after"] == "1"
        assert (await beside.get(AT)).status_code == 200
        now[0] += 1
        assert (await by.get(AT)).status_code == 200


async def test_who_tries_out_keys_does_not_keep_the_store_busy_nor_others_out(world: World) -> None:
    now = [0.0]
    world.api.doorkeeper = Doorkeeper(world.app.store, world.app.clock, local=True, rate=9999, timer=lambda: now[0])
    key = await world.key(Role.READ)
    async with world.caller(key) as by:
        assert (await by.get(AT)).status_code == 200
        tried = [
            (await by.get(AT, headers={"Authorization": f"Bearer ab_{'a' * 10}_{'b' * 52}"})).status_code
            for _ in range(120)
        ]
        assert {401, 429} == set(tried)
        assert tried[-1] == 429
        now[0] = 0.5 + BELIEVED_SECONDS - 0.5
        assert (await by.get(AT)).status_code == 200, "one that was known is looked up again all the same"


async def test_a_user_is_named_in_utf_8_and_must_be_one(world: World) -> None:
    key = await world.key(Role.READ)
    async with world.caller(key) as by:
        for user, status in (("Zoë".encode(), 200), (b"\xff", 403), (b"a" * 300, 403), (b"", 403)):
            assert (await by.get(AT, headers={b"X-AgentBus-User": user})).status_code == status, user


@pytest.mark.parametrize(
    ("host", "is_it"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],  # noqa: S104
)
def test_loopback(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


async def test_a_key_is_in_no_line_of_the_log_and_no_answer(world: World) -> None:
    key = await world.key(*Role)
    secret = key.rpartition("_")[2]
    seen: list[str] = []
    with structlog.testing.capture_logs() as lines:
        async with world.caller(key) as by:
            for given in (
                by.post("/v1/messages", json=a_message()),
                by.post(f"/v1/messages?{key}", json={key: key}),
                by.get(f"/v1/sessions/{'x' * 9}"),
                by.get(AT, headers={"Authorization": f"Bearer {key}x"}),
                by.get(AT, params={"after": "x"}),
                by.delete(AT),
                by.delete(f"/v1/expiry/rules/{key}"),
            ):
                answer = await given
                seen += [answer.text, str(answer.headers)]
    assert lines
    # What the caller puts elsewhere than where it belongs is told back by its place alone.
    assert secret not in str(lines)
    assert [one for one in seen if secret in one] == []


async def test_the_store_keeps_no_secret() -> None:
    async with MemoryStore() as store:
        key, text = await create_key(store, ManualClock(), "n", [Role.READ])
        record = await store.records.get(RecordKind.API_KEY, key.key_id)
    assert record is not None
    assert text.rpartition("_")[2] not in record.model_dump_json()


async def test_the_use_of_a_key_is_noted_once_a_minute_by_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStore() as store:
        clock, now = ManualClock(), [0.0]
        key, text = await create_key(store, clock, "n", [Role.READ])
        assert (await list_keys(store)).items[0].last_used_at is None
        put, puts = store.records.put, list[object]()

        async def counted(record: Record, *, replace: bool = True) -> bool:
            puts.append(record)
            return await put(record, replace=replace)

        monkeypatch.setattr(store.records, "put", counted)
        doors = [Doorkeeper(store, clock, local=True, rate=100, timer=lambda: now[0]) for _ in range(2)]
        call = HTTPConnection(
            {"type": "http", "method": "GET", "headers": [(b"authorization", f"Bearer {text}".encode())]}
        )
        for _ in range(10):
            for door in doors:
                await door.caller_of(call)
        [used] = (await list_keys(store)).items
        assert (used.last_used_at, len(puts)) == (clock.now(), 1)
        now[0] += 61
        clock.advance(timedelta(seconds=61))
        await doors[0].caller_of(call)
        assert ((await list_keys(store)).items[0].last_used_at, len(puts)) == (clock.now(), 2)
        assert await any_key(store)
        await revoke_key(store, clock, key.key_id)
        assert (await list_keys(store)).items[0].revoked_at == clock.now()


async def test_a_key_is_good_though_its_use_cannot_be_noted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await world.key(Role.READ)

    async def full(*_: object, **__: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(world.app.store.records, "put", full)
    async with world.caller(key) as by:
        assert (await by.get(AT)).status_code == 200


async def test_who_is_not_let_in_is_told_now_and_then_without_what_they_tried(world: World) -> None:
    key = f"ab_{'a' * 10}_{'b' * 52}"
    with structlog.testing.capture_logs() as lines:
        async with world.caller(key, host="10.0.0.7") as by:
            for _ in range(20):
                assert (await by.get(AT)).status_code == 401
    refused = [line for line in lines if line["event"] == "api_refused"]
    assert len(refused) == SAID_AT_ONCE
    assert {line["host"] for line in refused} == {"10.0.0.7"}
    assert "b" * 52 not in str(lines)
