"""All stores agree: whatever is done to them, they answer alike."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agentbus.contracts.events import AnyEvent
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, Partition, session_id_for
from agentbus.contracts.members import Member, WorkerId
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.sync import Conflict
from agentbus.storage.encryption import EncryptedStore
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store, attempt_at
from agentbus.testing.conformance.store_shared_suite import a_conflict
from tests.harness.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_key,
    a_member,
    a_moment,
    a_parked,
    an_address,
    appended,
    edited,
)
from tests.harness.encryption import MASTERS
from tests.harness.sampling import on_all_servers

NAMES = ("one", "two")

conversations = st.sampled_from(NAMES)
versions = st.integers(1, 4)
input_lists = st.lists(st.sampled_from("abcde"), max_size=3, unique=True)
targets = st.lists(st.sampled_from("mn"), max_size=2, unique=True)
json_values = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=4),
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    max_size=3,
)

owners = st.sampled_from(["ann", "Ann"])
tags = st.lists(st.sampled_from(["x", "$x.y"]), max_size=2).map(tuple)
profiles = st.builds(Profile, owner=st.none() | owners, tags=tags)
record_keys = st.sampled_from(["k", "K", "$k.😀"])
deadline_batches = st.lists(
    st.tuples(record_keys, conversations, st.integers(0, 3), st.none() | st.integers(0, 2)),
    max_size=3,
    unique_by=lambda record: record[0],
)
workers = st.sampled_from(["w", "W", "$w"])

HOUR = 3600.0

_examples = count()


def unseen(members: list[Member]) -> list[Member]:
    """Return members without the times of their heartbeats, which each store tells by its own clock."""
    return [member.model_copy(update={"seen_at": None}) for member in members]


class StoresAgree(RuleBasedStateMachine):
    """Does the same to all stores. Each example keeps to conversations and parked inputs of its own."""

    stores: ClassVar[list[Store]] = []
    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.example = str(next(_examples))
        self.ids = {name: a_conversation(f"{name}-{self.example}") for name in NAMES}
        self.address = an_address(chat=self.example)

    def same(self, call: Callable[[Store], Awaitable[Any]]) -> None:
        answers = [self.runner.run(self._answer(call, store)) for store in self.stores]
        assert all(answer == answers[0] for answer in answers), answers

    async def _answer(self, call: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
        return await call(store)

    @rule(
        batch=st.lists(st.tuples(conversations, versions, input_lists, targets), max_size=2, unique_by=lambda c: c[0])
    )
    def append(self, batch: list[tuple[str, int, list[str], list[str]]]) -> None:
        commits = []
        for name, version, inputs, amended in batch:
            one = self.ids[name]
            events: list[AnyEvent] = [
                appended(one, version, "m"),
                *(edited(one, version, target, "new") for target in amended),
            ]
            commits.append(a_commit(one, version, inputs=inputs, events=events))

        async def outcome(store: Store) -> list[type]:
            return [type(error) for error in await store.log.append(commits)]

        self.same(outcome)

    @rule(
        batch=st.lists(
            st.tuples(conversations, versions, st.lists(st.sampled_from("fgh"), max_size=2, unique=True), targets),
            max_size=3,
            unique_by=lambda c: c[:2],
        )
    )
    def replace_commits(self, batch: list[tuple[str, int, list[str], list[str]]]) -> None:
        commits = [
            a_commit(
                self.ids[name],
                version,
                # Of its own: others may hold what another version has.
                inputs=[f"{one}-{version}" for one in inputs],
                events=[edited(self.ids[name], version, target, "replaced") for target in amended],
            )
            for name, version, inputs, amended in batch
        ]
        self.same(lambda store: store.log.replace(commits))

    @rule(
        name=conversations,
        generation=st.integers(1, 3),
        version=versions,
        active=st.integers(-3, 3),
        status=st.sampled_from(SessionStatus),
        data=json_values,
        profile=profiles,
        identity=st.none() | owners,
        conflicts=st.sampled_from([(), (a_conflict(),)]),
    )
    def save_head(
        self,
        *,
        name: str,
        generation: int,
        version: int,
        active: int,
        status: SessionStatus,
        data: dict[str, Any],
        profile: Profile,
        identity: str | None,
        conflicts: tuple[Conflict, ...],
    ) -> None:
        head = a_head(
            self.ids[name],
            generation=generation,
            version=version,
            active=active,
            status=status,
            data=data,
            address=self.address,
        ).model_copy(
            update={"profile": profile, "message_count": version, "identity": identity, "conflicts": conflicts}
        )
        self.same(lambda store: store.heads.save([head]))

    @rule(
        name=st.sampled_from("pq"),
        attempts=st.integers(1, 3),
        at=st.integers(0, 2),
        conversation=st.none() | conversations,
    )
    def park(self, name: str, attempts: int, at: int, conversation: str | None) -> None:
        parked = self.parked(name, attempts, at).model_copy(
            update={"conversation_id": self.ids.get(conversation or "")}
        )
        self.same(lambda store: store.parked.put(parked))

    @rule(name=conversations, status=st.none() | st.sampled_from(ParkedStatus), limit=st.integers(1, 2))
    def list_parked(self, name: str, status: ParkedStatus | None, limit: int) -> None:
        self.same(lambda store: store.parked.page(status, conversation=self.ids[name], limit=limit))

    @rule(name=st.sampled_from("pqr"), status=st.sampled_from(ParkedStatus))
    def set_parked_status(self, name: str, status: ParkedStatus) -> None:
        self.same(lambda store: store.parked.set_status(self.parked(name).parked_id, status))

    @rule(name=st.sampled_from("pqr"))
    def delete_parked(self, name: str) -> None:
        self.same(lambda store: store.parked.delete(self.parked(name).parked_id))

    @rule(name=conversations, first=versions, last=st.none() | versions, limit=st.integers(1, 5), newest=st.booleans())
    def read_log(self, name: str, first: int, last: int | None, limit: int, newest: bool) -> None:
        self.same(lambda store: store.log.read(self.ids[name], first=first, last=last, limit=limit, newest=newest))

    @rule(
        limit=st.integers(1, 3),
        where=st.builds(
            SessionFilter,
            status=st.none() | st.sampled_from(SessionStatus),
            owner=st.none() | owners,
            tags=tags,
            identity=st.none() | owners,
            conflicts=st.none() | st.booleans(),
        ),
    )
    def list_sessions(self, limit: int, where: SessionFilter) -> None:
        where = where.model_copy(update={"chat": self.example})

        async def pages(store: Store) -> list[Any]:
            first = await store.heads.page(where, limit=limit)
            second = await store.heads.page(where, limit=limit, cursor=first.cursor)
            listed = await store.heads.summaries(where, limit=limit, cursor=first.cursor)
            return [first, second, listed]

        self.same(pages)
        self.same(lambda store: store.heads.statistics(where))

    @rule(key=record_keys, group=conversations, at=st.integers(0, 2), data=json_values, replace=st.booleans())
    def put_record(self, *, key: str, group: str, at: int, data: dict[str, Any], replace: bool) -> None:
        record = Record(
            kind=RecordKind.TEMPLATE,
            key=f"{key}-{self.example}",
            group=self.ids[group],
            created_at=a_moment(at),
            data=data,
        )
        self.same(lambda store: store.records.put(record, replace=replace))

    def deadlines(self, batch: list[tuple[str, str, int, int | None]]) -> list[Record]:
        return [
            Record(
                kind=RecordKind.DEADLINE,
                key=f"{key}-{self.example}",
                group=self.ids[group],
                created_at=a_moment(revision),
                data={},
                revision=revision,
                due_at=None if due is None else a_moment(due),
            )
            for key, group, revision, due in batch
        ]

    @rule(batch=deadline_batches)
    def put_records(self, batch: list[tuple[str, str, int, int | None]]) -> None:
        self.same(lambda store: store.records.put_many(self.deadlines(batch)))

    @rule(batch=deadline_batches)
    def drop_records(self, batch: list[tuple[str, str, int, int | None]]) -> None:
        self.same(lambda store: store.records.drop(self.deadlines(batch)))

    @rule(groups=st.lists(conversations, max_size=2), before=st.integers(-1, 3), limit=st.integers(1, 4))
    def due_records(self, groups: list[str], before: int, limit: int) -> None:
        wanted = [self.ids[group] for group in groups]
        due = a_moment(before)
        self.same(lambda store: store.records.due(RecordKind.DEADLINE, due, groups=wanted, limit=limit))

    @rule(group=conversations, limit=st.integers(1, 2))
    def list_records(self, group: str, limit: int) -> None:
        async def pages(store: Store) -> list[Any]:
            first = await store.records.page(RecordKind.TEMPLATE, self.ids[group], limit=limit)
            second = await store.records.page(RecordKind.TEMPLATE, self.ids[group], limit=limit, cursor=first.cursor)
            return [first, second]

        self.same(pages)

    @rule(key=record_keys)
    def delete_record(self, key: str) -> None:
        self.same(lambda store: store.records.delete(RecordKind.TEMPLATE, f"{key}-{self.example}"))

    @rule(group=conversations)
    def delete_records(self, group: str) -> None:
        self.same(lambda store: store.records.delete_group(RecordKind.TEMPLATE, self.ids[group]))

    @rule(name=conversations)
    def acquire_lock(self, name: str) -> None:
        async def token(store: Store) -> int | None:
            lock = await store.locks.acquire(self.ids[name], ttl=HOUR)
            return lock.token if lock else None

        self.same(token)

    @rule(name=conversations, token=st.integers(1, 3))
    def release_lock(self, name: str, token: int) -> None:
        self.same(lambda store: store.locks.release(self.ids[name], token))

    @rule(name=conversations, worker=workers, owns=st.sets(st.integers(0, 3)))
    def heartbeat(self, name: str, worker: str, owns: set[int]) -> None:
        async def live(store: Store) -> list[Any]:
            return unseen(await store.members.heartbeat(self.ids[name], a_member(worker, owns=sorted(owns)), ttl=HOUR))

        self.same(live)

    @rule(name=conversations, worker=workers)
    def leave(self, name: str, worker: str) -> None:
        async def left(store: Store) -> list[Any]:
            await store.members.leave(self.ids[name], WorkerId(worker))
            return unseen(await store.members.live(self.ids[name], ttl=HOUR))

        self.same(left)

    @rule(name=conversations, partition=st.integers(0, 1), above=st.integers(0, 9))
    def take_epoch(self, name: str, partition: int, above: int) -> None:
        self.same(lambda store: store.members.take_epoch(self.ids[name], Partition(partition), above=above))

    @rule(name=conversations, attempt=st.sampled_from(["a", "b"]))
    def begin_trial(self, name: str, attempt: str) -> None:
        self.same(lambda store: store.members.begin_trial(attempt_at(self.ids[name], attempt)))

    @rule(name=conversations)
    def end_trial(self, name: str) -> None:
        self.same(lambda store: store.members.end_trial(self.ids[name]))

    @invariant()
    def answers_are_alike(self) -> None:
        one = self.ids["one"]
        self.same(lambda store: store.log.load(list(self.ids.values())))
        self.same(
            lambda store: store.heads.get_many(
                [session_id_for(key, n) for key in self.ids.values() for n in range(1, 4)]
            )
        )
        self.same(
            lambda store: store.records.due(RecordKind.DEADLINE, a_moment(9), groups=[*self.ids.values()], limit=9)
        )
        names = [*"abcde", *(f"{name}-{version}" for name in "fgh" for version in range(1, 5))]
        self.same(lambda store: store.log.commits_of_inputs(one, [InputId(name) for name in names]))
        self.same(lambda store: store.log.commits_amending(one, [a_key("m"), a_key("n")]))
        self.same(lambda store: store.parked.get(self.parked("p").parked_id))

    def parked(self, name: str, attempts: int = 1, at: int = 0) -> Any:
        return a_parked(f"{name}-{self.example}", at=at, attempts=attempts)


@pytest.mark.parametrize("driver", ["pymongo", pytest.param("motor", marks=on_all_servers)])
def test_stores_agree(
    mongo_url: str,
    postgresql_url: str,
    mariadb_url: str,
    redis_url: str,
    *,
    driver: Any,
    pytestconfig: pytest.Config,
) -> None:
    """What is tried is new each time: less of it at each run, more where all is taken."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        embedded = ("memory://", f"file://{folder}/store", f"sqlite:///{Path(folder)}/store.db")
        urls = (*embedded, postgresql_url, mariadb_url, f"{redis_url}&shards=3", mongo_url)
        StoresAgree.runner = runner
        StoresAgree.stores = [open_store(url, mongo_driver=driver) for url in urls]
        StoresAgree.stores.append(EncryptedStore(open_store("memory://"), MASTERS))
        for store in StoresAgree.stores:
            runner.run(store.start())
        try:
            run_state_machine_as_test(
                StoresAgree,
                settings=settings(
                    max_examples=20 if pytestconfig.getoption("--whole") else 8,
                    stateful_step_count=15,
                    deadline=None,
                    database=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            for store in StoresAgree.stores:
                runner.run(store.close())
