"""The store contract of cancellations: each public call, cancelled at each of its awaits in turn."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Final
from zlib import crc32

import pytest

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, Partition, session_id_for
from agentbus.contracts.members import WorkerId
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import Store, attempt_at
from agentbus.testing.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_key,
    a_member,
    a_moment,
    a_parked,
    appended,
    edited,
)
from agentbus.testing.cancelling import DEADLINE, Call, When, cancel_everywhere
from agentbus.testing.conformance.inside import held_by
from agentbus.testing.conformance.store_locks_suite import HOUR, acquired

MOMENTS: Final = (When.THERE, When.INSISTING)
_names = count(1)
_KIND: Final = RecordKind.CHECKPOINT
ROWS: Final[dict[str, Callable[[Store], Awaitable[Call]]]] = {}


def _row(prepare: Callable[[Store], Awaitable[Call]]) -> Callable[[Store], Awaitable[Call]]:
    """Let a function prepare, and give, the call that it is named after: `section__call`."""
    ROWS[prepare.__name__.replace("__", ".")] = prepare
    return prepare


def _new_name() -> str:
    return f"name-{next(_names)}"


def _a_record(key: str | None = None) -> Record:
    return Record(kind=_KIND, key=key or _new_name(), created_at=a_moment(), due_at=a_moment(), data={"a": 1})


async def _a_kept_record(store: Store) -> Record:
    record = _a_record()
    await store.records.put(record)
    return record


@_row
async def start(store: Store) -> Call:
    await store.close()
    return store.start()


@_row
async def close(store: Store) -> Call:
    await store.start()
    return store.close()


@_row
async def info(store: Store) -> Call:
    return store.info()


@_row
async def log__append(store: Store) -> Call:
    one, two = a_conversation(), a_conversation()
    first = a_commit(one, events=[appended(one, 1, "m")])
    await store.log.append([first])
    # One of them is refused, so that each is tried by itself.
    return store.log.append([first, a_commit(one, 2, events=[edited(one, 2, "m", "n")]), a_commit(two)])


@_row
async def log__commit(store: Store) -> Call:
    conversation = a_conversation()
    return store.log.commit([a_commit(conversation)], [a_head(conversation)])


@_row
async def log__load(store: Store) -> Call:
    conversation = a_conversation()
    await store.log.append([a_commit(conversation)])
    return store.log.load([conversation, a_conversation()])


@_row
async def log__stamps(store: Store) -> Call:
    conversation = a_conversation()
    await store.heads.save([a_head(conversation)])
    return store.log.stamps([conversation, a_conversation()])


@_row
async def log__conversations(store: Store) -> Call:
    await store.log.append([a_commit(a_conversation())])
    return store.log.conversations(limit=2)


@_row
async def log__read(store: Store) -> Call:
    return store.log.read(a_conversation(), limit=10)


@_row
async def log__read_many(store: Store) -> Call:
    return store.log.read_many({a_conversation(): (1, 2), a_conversation(): (1, 1)})


@_row
async def log__commits_of_inputs(store: Store) -> Call:
    return store.log.commits_of_inputs(a_conversation(), [InputId("input-1")])


@_row
async def log__commits_amending(store: Store) -> Call:
    return store.log.commits_amending(a_conversation(), [a_key("m")])


@_row
async def log__replace(store: Store) -> Call:
    conversation = a_conversation()
    await store.log.append([a_commit(conversation, events=[appended(conversation, 1, "m")])])
    return store.log.replace([a_commit(conversation, events=[edited(conversation, 1, "m", "")])])


@_row
async def heads__save(store: Store) -> Call:
    conversation = a_conversation()
    await store.heads.save([a_head(conversation)])
    return store.heads.save([a_head(conversation, version=2), a_head(a_conversation())])


@_row
async def heads__write(store: Store) -> Call:
    conversation = a_conversation()
    await store.heads.write([a_head(conversation)])
    return store.heads.write([a_head(conversation, version=2), a_head(a_conversation())])


@_row
async def heads__flush(store: Store) -> Call:
    heads = [a_head(a_conversation()), a_head(a_conversation())]
    await store.heads.write(heads)
    return store.heads.flush([*heads, a_head(a_conversation())])


@_row
async def heads__get(store: Store) -> Call:
    return store.heads.get(session_id_for(a_conversation(), 1))


@_row
async def heads__get_many(store: Store) -> Call:
    return store.heads.get_many([session_id_for(a_conversation(), 1)])


@_row
async def heads__page(store: Store) -> Call:
    return store.heads.page(SessionFilter(), limit=10)


@_row
async def heads__summaries(store: Store) -> Call:
    return store.heads.summaries(SessionFilter(), limit=10)


@_row
async def heads__due(store: Store) -> Call:
    return store.heads.due(a_moment(), limit=10)


@_row
async def heads__scan(store: Store) -> Call:
    return store.heads.scan(limit=10)


@_row
async def heads__statistics(store: Store) -> Call:
    return store.heads.statistics(SessionFilter())


@_row
async def parked__put(store: Store) -> Call:
    return store.parked.put(a_parked(_new_name()))


@_row
async def parked__put_many(store: Store) -> Call:
    given = a_parked(_new_name())
    await store.parked.put(given)
    return store.parked.put_many([given, a_parked(_new_name())])


@_row
async def parked__get(store: Store) -> Call:
    given = a_parked(_new_name())
    await store.parked.put(given)
    return store.parked.get(given.parked_id)


@_row
async def parked__page(store: Store) -> Call:
    return store.parked.page(limit=2)


@_row
async def parked__ids(store: Store) -> Call:
    return store.parked.ids(limit=2)


@_row
async def parked__set_status(store: Store) -> Call:
    given = a_parked(_new_name())
    await store.parked.put(given)
    return store.parked.set_status(given.parked_id, ParkedStatus.DISCARDED)


@_row
async def parked__delete(store: Store) -> Call:
    given = a_parked(_new_name())
    await store.parked.put(given)
    return store.parked.delete(given.parked_id)


@_row
async def members__heartbeat(store: Store) -> Call:
    return store.members.heartbeat("group", a_member(_new_name()), ttl=HOUR)


@_row
async def members__live(store: Store) -> Call:
    return store.members.live("group", ttl=HOUR)


@_row
async def members__everyone(store: Store) -> Call:
    return store.members.everyone(ttl=HOUR)


@_row
async def members__epochs(store: Store) -> Call:
    return store.members.epochs()


@_row
async def members__leave(store: Store) -> Call:
    return store.members.leave("group", WorkerId("worker"))


@_row
async def members__take_epoch(store: Store) -> Call:
    return store.members.take_epoch("group", Partition(1))


@_row
async def members__begin_trial(store: Store) -> Call:
    return store.members.begin_trial(attempt_at(_new_name(), "first"))


@_row
async def members__end_trial(store: Store) -> Call:
    return store.members.end_trial("trial")


@_row
async def records__put(store: Store) -> Call:
    return store.records.put(_a_record())


@_row
async def records__get(store: Store) -> Call:
    kept = await _a_kept_record(store)
    return store.records.get(kept.kind, kept.key)


@_row
async def records__page(store: Store) -> Call:
    return store.records.page(_KIND, "default", limit=2)


@_row
async def records__scan(store: Store) -> Call:
    return store.records.scan(_KIND, limit=2)


@_row
async def records__delete(store: Store) -> Call:
    kept = await _a_kept_record(store)
    return store.records.delete(kept.kind, kept.key)


@_row
async def records__delete_group(store: Store) -> Call:
    await _a_kept_record(store)
    return store.records.delete_group(_KIND, "default")


@_row
async def records__put_many(store: Store) -> Call:
    kept = await _a_kept_record(store)
    return store.records.put_many([kept.model_copy(update={"revision": 1}), _a_record()])


@_row
async def records__add_many(store: Store) -> Call:
    return store.records.add_many([await _a_kept_record(store), _a_record()])


@_row
async def records__put_off(store: Store) -> Call:
    kept = await _a_kept_record(store)
    return store.records.put_off([kept.model_copy(update={"revision": 1, "due_at": a_moment()})])


@_row
async def records__due(store: Store) -> Call:
    return store.records.due(_KIND, a_moment(), limit=2)


@_row
async def records__drop(store: Store) -> Call:
    return store.records.drop([await _a_kept_record(store)])


@_row
async def locks__acquire(store: Store) -> Call:
    return store.locks.acquire(_new_name(), ttl=HOUR)


@_row
async def locks__acquire_many(store: Store) -> Call:
    return store.locks.acquire_many([_new_name(), _new_name()], ttl=HOUR)


@_row
async def locks__release_many(store: Store) -> Call:
    return store.locks.release_many([await acquired(store, _new_name()), await acquired(store, _new_name())])


@_row
async def locks__renew(store: Store) -> Call:
    lock = await acquired(store, _new_name())
    return store.locks.renew(lock.name, lock.token, ttl=HOUR)


@_row
async def locks__release(store: Store) -> Call:
    lock = await acquired(store, _new_name())
    return store.locks.release(lock.name, lock.token)


@_row
async def locks__tokens(store: Store) -> Call:
    return store.locks.tokens(limit=2)


@_row
async def locks__advance(store: Store) -> Call:
    return store.locks.advance(_new_name(), 7)


async def _works(store: Store) -> None:
    """Check that nothing is held, and that a write and a read succeed."""
    async with asyncio.timeout(DEADLINE):
        await store.start()
        assert held_by(store) == []
        kept = _a_record("works")
        assert await store.records.put(kept)
        assert await store.records.get(kept.kind, kept.key) == kept


async def _works_and_is_closed(store: Store) -> None:
    await _works(store)
    await store.close()


def places(config: pytest.Config, call: str, when: When) -> tuple[int, int]:
    """Return each how manieth await of a call is cancelled, and which is the first: of other calls it is another."""
    step = int(config.getoption("--cancel-each", None) or 1)
    begin = int(config.getoption("--cancel-from", None) or 0)
    return step, 1 + (crc32(call.encode()) + MOMENTS.index(when) + begin) % step


class StoreCancelledSuite:
    """What every store must do when a call is cancelled. Subclasses define the fixture `store`."""

    @pytest.mark.parametrize("when", MOMENTS)
    @pytest.mark.parametrize("name", ROWS)
    async def test_call_cancelled_at_any_await_leaves_nothing_behind(
        self, store: Store, name: str, when: When, request: pytest.FixtureRequest
    ) -> None:
        step, first = places(request.config, f"{type(self).__name__}.{name}", when)
        check = _works_and_is_closed if name in {"start", "close"} else _works
        await cancel_everywhere(partial(ROWS[name], store), partial(check, store), when=when, step=step, first=first)

    @pytest.mark.parametrize("when", MOMENTS)
    async def test_lock_taken_while_being_cancelled_is_given_back(self, store: Store, when: When) -> None:
        names = [_new_name()]

        async def taking() -> Call:
            names.append(_new_name())
            return take_and_give_back()

        async def take_and_give_back() -> None:
            lock = await acquired(store, names[-1])
            await store.locks.release(lock.name, lock.token)

        async def nobody_holds_it() -> None:
            await acquired(store, names[-1])

        await cancel_everywhere(taking, nobody_holds_it, when=when)

    @pytest.mark.parametrize("when", MOMENTS)
    async def test_many_locks_taken_while_being_cancelled_are_given_back(self, store: Store, when: When) -> None:
        names: list[str] = []

        async def taking() -> Call:
            names[:] = [_new_name(), _new_name()]
            return take_and_give_back()

        async def take_and_give_back() -> None:
            await store.locks.release_many(await store.locks.acquire_many(names, ttl=HOUR))

        async def nobody_holds_them() -> None:
            for name in names:
                await acquired(store, name)

        await cancel_everywhere(taking, nobody_holds_them, when=when)

    @pytest.mark.parametrize("when", MOMENTS)
    async def test_lock_is_given_back_while_being_cancelled(self, store: Store, when: When) -> None:
        names = [_new_name()]

        async def giving_back() -> Call:
            names.append(_new_name())
            lock = await acquired(store, names[-1])
            return store.locks.release(names[-1], lock.token)

        async def nobody_holds_it() -> None:
            await acquired(store, names[-1])

        await cancel_everywhere(giving_back, nobody_holds_it, when=when)
