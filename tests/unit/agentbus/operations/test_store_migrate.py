"""`agentbus store migrate`: all of a store in another one, however often it was interrupted, or a refusal."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
from sqlalchemy import select

from agentbus.composition.app import place_of
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import (
    MigrationDiffers,
    MigrationRefused,
    MigrationUnfinished,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
)
from agentbus.contracts.events import Commit
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.operations.store_migrate import Copied, Migrated, Verified, migrate_store
from agentbus.storage.encryption import EncryptedStore
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.storage.sql import SqlStore, schema
from agentbus.storage.sql.dialects.sqlite import Sqlite
from agentbus.workers import store_parts
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.installation.joining import join_installation
from agentbus.workers.store_parts import NOT_CARRIED, PARTS, Figures, figures_of
from tests.contract.store_inside import spoil
from tests.harness.builders import a_commit, a_conversation, a_head, a_member, a_moment
from tests.harness.cli import called
from tests.harness.encryption import MASTERS
from tests.harness.full_store import fill

PLACE = "sqlite:///there.db"
Steps = AsyncGenerator[Copied | Verified | Migrated, None]


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
async def source() -> MemoryStore:
    store = MemoryStore()
    await fill(store)
    return store


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every page be of two things: each is then a place to be interrupted at."""
    for name in ("_READ", "_WRITTEN", "_COMMITS", "_HEADS", "_NAMES", "_RECORDS"):
        assert isinstance(getattr(store_parts, name), int)
        monkeypatch.setattr(store_parts, name, 2)


def begun(source: Store, target: Store, *, place: str = PLACE) -> aclosing[Steps]:
    """Give the steps of a migration, to be gone through as far as one likes."""
    return aclosing(migrate_store(source, target, place=place, clock=SystemClock()))


async def migrate(source: Store, target: Store, *, place: str = PLACE) -> Figures:
    """Migrate to the end; return what both then hold."""
    async with begun(source, target, place=place) as steps:
        *_, last = [step async for step in steps]
    assert isinstance(last, Migrated)
    return last.figures


async def until_copied(steps: Steps, part: str) -> None:
    """Go through steps until some of a part is copied."""
    async for step in steps:
        if isinstance(step, Copied) and step.part == part:
            return


async def held(store: Store) -> dict[str, Any]:
    *_, figures = [figures.as_dict() async for figures in figures_of(store)]
    return figures


def passing_by(store: Store, pass_by: Callable[[str], None]) -> Any:
    """Return the store, but that each call of a section comes by `pass_by` before it and after it."""

    def watched(section: Any) -> Any:
        calls = {
            name: getattr(section, name) for name, _ in inspect.getmembers(type(section), inspect.iscoroutinefunction)
        }
        return SimpleNamespace(**{name: _passing(call, pass_by) for name, call in calls.items()})

    return SimpleNamespace(**{name: watched(getattr(store, name)) for name in get_type_hints(Store)})


def _passing(call: Callable[..., Any], pass_by: Callable[[str], None]) -> Callable[..., Any]:
    async def passing(*args: Any, **given: Any) -> Any:
        pass_by(call.__qualname__)
        answer = await call(*args, **given)
        pass_by(call.__qualname__)
        return answer

    return passing


# All of it


@pytest.mark.parametrize(("most", "outstanding"), [(1, 2 * 3), (None, 9 * 3)])
async def test_no_more_is_read_than_bytes_may_wait_for_being_appended(
    monkeypatch: pytest.MonkeyPatch, most: int | None, outstanding: int
) -> None:
    source, target = MemoryStore(), MemoryStore()
    for one in [a_conversation() for _ in range(9)]:
        for version in (1, 2, 3):
            await source.log.append([a_commit(one, version)])
    monkeypatch.setattr(store_parts, "_READ", 2)
    if most:
        monkeypatch.setattr(store_parts, "_BYTES", most)
    waiting: list[int] = [0]
    read, append = source.log.read, target.log.append

    async def reading(*args: Any, **given: Any) -> list[Commit]:
        found = await read(*args, **given)
        waiting.append(waiting[-1] + len(found))
        return found

    async def appending(commits: Sequence[Commit]) -> list[StoreError | None]:
        waiting.append(waiting[-1] - len(commits))
        return await append(commits)

    monkeypatch.setattr(source.log, "read", reading)
    monkeypatch.setattr(target.log, "append", appending)
    step = await PARTS[0].copy(source, target, None)

    assert (step.copied, waiting[-1], max(waiting)) == (27, 0, outstanding)
    assert target.log._log == source.log._log


@pytest.mark.usefixtures("small_pages")
async def test_every_kind_of_store_gets_all_and_gives_it_on(source: MemoryStore, tmp_path: Path) -> None:
    expected = await held(source)
    last = MemoryStore()
    async with AsyncExitStack() as stack:
        there: Store = source
        for url in (f"sqlite:///{tmp_path}/one.db", f"file://{tmp_path}/folder"):
            kept = await stack.enter_async_context(open_store(url))
            assert (await migrate(there, kept)).as_dict() == expected
            assert await kept.records.get(RecordKind.MIGRATION, "migration") is None
            there = kept
        await migrate(there, last)

    assert last.log._log == source.log._log
    assert last.log._inputs == source.log._inputs
    assert last.heads._heads == source.heads._heads
    assert last.heads.latest == source.heads.latest
    assert last.parked._parked == source.parked._parked
    assert last.records._records == source.records._records
    assert last.members._epochs == source.members._epochs
    assert last.locks._tokens == source.locks._tokens
    assert (last.locks._locks, last.members._members, last.members._trials) == ({}, {}, {})
    assert expected["records_by_kind"] == {kind.value: 3 for kind in sorted(RecordKind) if kind not in NOT_CARRIED}
    assert expected["parked_by_status"] == {"discarded": 1, "parked": 2, "replayed": 1}


def test_every_section_of_the_port_is_carried() -> None:
    assert {part.section for part in PARTS} == get_type_hints(Store).keys()


async def test_every_table_of_a_database_is_carried_or_said_not_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new table, or a new column, must be filled in tests/harness/full_store.py, and then be carried."""
    left_behind = {"members", "trials"}
    leases = schema.locks.c.expires_at
    monkeypatch.setattr(Sqlite, "PIECE", 1024)  # Other databases keep large bodies in pieces.
    async with (
        open_store(f"sqlite:///{tmp_path}/one.db") as one,
        open_store(f"sqlite:///{tmp_path}/two.db") as two,
    ):
        await fill(one)
        await migrate(one, two)

        for table in schema.metadata.sorted_tables:
            columns = [column for column in table.c if column is not leases]
            kept = [await _rows(store, table.name, columns) for store in (one, two)]
            assert kept[0], f"nothing is in {table}: fill it in tests/harness/full_store.py"
            for column, values in zip(columns, zip(*kept[0], strict=True), strict=True):
                assert any(value is not None for value in values), f"nothing is in {column}: fill it as well"
            assert kept[1] == ([] if table.name in left_behind else kept[0]), table.name
    assert left_behind | {"leases", "migration"} == NOT_CARRIED.keys()


async def _rows(store: Store, table: str, columns: list[Any]) -> list[tuple[Any, ...]]:
    assert isinstance(store, SqlStore), table
    return sorted(map(tuple, await store._database.rows(select(*columns))), key=str)


# Interrupted


@pytest.mark.usefixtures("small_pages")
async def test_died_at_any_call_it_goes_on_where_it_was() -> None:
    source, calls = MemoryStore(), list[str]()
    await fill(source, conversations=1, keys=("key",))
    expected = await held(source)
    assert (
        await migrate(*(passing_by(store, calls.append) for store in (source, MemoryStore())))
    ).as_dict() == expected
    # Of each call the first two times, before it and after it.
    places = [place for place, call in enumerate(calls) if calls[:place].count(call) < 4]
    assert len(places) > 60

    for place in places:
        passed = iter(range(place))

        def pass_by(_call: str, passed: Iterator[int] = passed) -> None:
            if next(passed, None) is None:
                raise Died

        target = MemoryStore()
        with pytest.raises(Died):
            await migrate(passing_by(source, pass_by), passing_by(target, pass_by))
        if await target.records.get(RecordKind.MIGRATION, "migration") or await held(target) != expected:
            assert (await migrate(source, target)).as_dict() == expected
        assert await held(target) == expected


@pytest.mark.usefixtures("small_pages")
async def test_a_run_begins_where_the_one_before_ended(source: MemoryStore) -> None:
    target = MemoryStore()
    async with begun(source, target) as steps:
        await until_copied(steps, "records: template")

    async with begun(source, target) as steps:
        again = {step.part async for step in steps if isinstance(step, Copied)}

    assert not {"commits", "sessions", "parked inputs"} & again
    assert {"records: template", "records: components", "tokens"} <= again


@pytest.mark.usefixtures("small_pages")
async def test_of_two_runs_the_later_one_goes_on(source: MemoryStore) -> None:
    target = MemoryStore()
    async with begun(source, target) as earlier, begun(source, target) as later:
        await anext(earlier)
        await anext(later)

        with pytest.raises(MigrationRefused, match="another run of this migration has begun"):
            [step async for step in earlier]
        assert isinstance([step async for step in later][-1], Migrated)


async def test_a_store_that_does_not_answer_for_a_moment_is_waited_for(source: MemoryStore) -> None:
    target, failed = MemoryStore(), list[str]()

    def once(call: str) -> None:
        if call not in failed and call in {"MemoryHeads.save", "MemoryParked.put", "MemoryRecords.put_many"}:
            failed.append(call)
            raise StoreUnavailable

    assert (await migrate(source, passing_by(target, once))).as_dict() == await held(source)
    assert len(failed) == 3


# Others at work


async def test_what_changes_meanwhile_is_told_and_caught_up_with(source: MemoryStore) -> None:
    target = MemoryStore()
    one = a_conversation("conversation-0")
    async with begun(source, target) as steps:
        await anext(steps)
        await source.log.append([a_commit(one, 3)])
        await source.heads.save([a_head(one, version=3)])
        await source.log.replace([a_commit(one, 2, inputs=["input-2"])])

        differs = r"differs from the source in .*commits \(\d+ and \d+\).* run this again"
        with pytest.raises(MigrationDiffers, match=differs) as told:
            [step async for step in steps]
    assert told.value.details["source"] == await held(source)

    assert (await migrate(source, target)).as_dict() == await held(source)


async def test_what_was_taken_away_meanwhile_is_told(source: MemoryStore) -> None:
    target = MemoryStore()
    async with begun(source, target) as steps:
        await until_copied(steps, "tokens")
        await source.records.delete(RecordKind.TEMPLATE, "😀")

        with pytest.raises(MigrationDiffers, match=r"records \(\d+ and \d+\).*begin anew with an empty target"):
            [step async for step in steps]
    with pytest.raises(MigrationDiffers):
        await migrate(source, target)


async def test_a_store_in_use_is_refused(source: MemoryStore) -> None:
    await source.members.heartbeat("any/group", a_member("w1", host="here"), ttl=60)

    for one, other, which in ((source, MemoryStore(), "source"), (MemoryStore(), source, "target")):
        with pytest.raises(MigrationRefused, match=rf"the {which} is in use by workers \(w1 on here\): stop them"):
            await migrate(one, other)


async def test_workers_do_not_start_on_half_a_copy(source: MemoryStore) -> None:
    target = MemoryStore()
    async with begun(source, target) as steps:
        await anext(steps)

    async with MemoryBus(Topology()) as bus:
        with pytest.raises(MigrationUnfinished, match=rf"half a copy of {PLACE}: run `agentbus store migrate` again"):
            await join_installation(target, bus, SystemClock())
    assert await target.records.get(RecordKind.INSTALLATION, "installation") is None


# Refusals


async def test_a_target_with_anything_in_it_is_refused(source: MemoryStore) -> None:
    for part in PARTS:
        target = MemoryStore()
        await part.copy(source, target, None)

        with pytest.raises(MigrationRefused, match=rf"not empty \(.*{part.name} are there\).* take an empty store"):
            await migrate(source, target)
        assert await target.records.get(RecordKind.MIGRATION, "migration") is None


async def test_an_empty_source_is_refused() -> None:
    with pytest.raises(MigrationRefused, match="the source holds nothing: is its URL right"):
        await migrate(MemoryStore(), MemoryStore())


async def test_the_target_of_another_migration_is_refused(source: MemoryStore) -> None:
    target = MemoryStore()
    async with begun(source, target, place="mongodb://elsewhere/agentbus") as steps:
        await anext(steps)

    with pytest.raises(MigrationRefused, match="the target is half a copy of mongodb://elsewhere/agentbus"):
        await migrate(source, target)
    with pytest.raises(MigrationRefused, match="the source is itself half a copy of mongodb://elsewhere/agentbus"):
        await migrate(target, MemoryStore())


async def test_of_two_that_begin_at_once_one_is_refused(source: MemoryStore) -> None:
    target = MemoryStore()
    runs = [migrate(source, target, place=place) for place in ("one", "other")]

    outcomes = await asyncio.gather(*runs, return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Figures", "MigrationRefused"]
    assert await held(target) == await held(source)


async def test_what_is_damaged_ends_it_by_name(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/one.db") as source:
        await fill(source)
        broken = Record(kind=RecordKind.TEMPLATE, key="broken", created_at=a_moment(), data={})
        await source.records.put(broken)
        await spoil(source, broken)
        target = MemoryStore()

        with pytest.raises(StoreDamaged, match="template record broken is damaged"):
            await migrate(source, target)
        await source.records.delete(RecordKind.TEMPLATE, "broken")
        await migrate(source, target)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("sqlite:///a/b.db", "sqlite://{here}/a/b.db"),
        ("sqlite:////a/b.db?x=1", "sqlite:///a/b.db"),
        ("SQLite:///a/../b.db", "sqlite://{here}/a/../b.db"),
        ("file://a%20b", "file://{here}/a b"),
        ("file:///a", "file:///a"),
        ("mongodb://user:s3cret@host:27017/db?tls=true", "mongodb://host:27017/db"),
        ("redis://:s3cret@host/0?ssl=1&prefix=two", "redis://host/0?prefix=two"),
        ("memory://", "memory://"),
    ],
)
def test_a_place_is_a_url_without_secrets(url: str, place: str) -> None:
    assert place_of(url) == place.format(here=Path.cwd())


# The commands


@pytest.fixture
async def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/one.db"
    async with open_store(url) as store:
        await fill(store)
    return url


def test_commands_migrate_and_tell(url: str, tmp_path: Path) -> None:
    target = f"file://{tmp_path}/two"

    done = called("store", "migrate", url, target, "--json")

    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert told[0] == "copied"
    assert told[-1] == "verified"
    infos = [json.loads(called("store", "info", one, "--json").stdout) for one in (url, target)]
    assert [info.pop("kind") for info in infos] == ["sqlite", "files"]
    migrated = json.loads(done.stdout)
    assert all({name: info[name] for name in migrated} == migrated for info in infos)
    assert (migrated["messages"], migrated["sessions"], infos[0]["members"]) == (6, 6, 0)
    fields = called("store", "info", "--store", url).stdout
    assert f"digest\t{migrated['digest']}\n" in fields


def test_commands_refuse_with_what_to_do(url: str, tmp_path: Path) -> None:
    same = called("store", "migrate", url, url.replace("/one.db", "/../" + tmp_path.name + "/one.db"))
    assert (same.returncode, same.stdout) == (1, "")
    assert "migration_refused" in same.stderr

    alike = called("store", "migrate", url, url + "?x=1")
    assert alike.returncode == 1
    assert "source and target are the same store" in alike.stderr

    empty = called("store", "migrate", f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}/other.db")
    assert empty.returncode == 1
    assert "the source holds nothing" in empty.stderr


# What is encrypted


async def test_what_is_encrypted_is_copied_as_it_is_kept_with_its_keys() -> None:
    source, target = MemoryStore(), MemoryStore()
    async with EncryptedStore(source, MASTERS) as store:
        await fill(store)
        before = await held(store)

    await migrate(source, target)

    assert await held(target) == await held(source) != before
    async with EncryptedStore(target, MASTERS) as store:
        assert await held(store) == before
