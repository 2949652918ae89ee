"""The store contract of what concerns all sections. A class per backend inherits it and gives `store`."""

import pytest
from pydantic import JsonValue

from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.errors import DuplicateInput, StoreRejected
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import MAX_PAGE, Store, attempt_at
from agentbus.testing.builders import (
    NOON,
    a_commit,
    a_conversation,
    a_head,
    a_member,
    a_parked,
    an_address,
    data_set,
)

ODD_VALUES: dict[str, JsonValue] = {
    "a.b": {"$set": 1, "$ref": "other", "$id": 7, "": None},
    "$where": ["'\"\\", {"%2E": "%24"}, [], {}],
    "int64": [2**63 - 1, -(2**63), 2**31, 0],
    "float": [0.1, -1e300, 1.0],
    "text": "😀 é \u0000 \u2028 'quoted' \"twice\"",
    "true": True,
}


ALIKE = (
    *("bob", "Bob", "bob ", " bob", "bob\u200b", "\uff42\uff4f\uff42", "caf\u00e9", "cafe\u0301", "cafe"),
    *("stra\u00dfe", "strasse", "\U0001f600", "\U0001f603"),
)
"""Names that some databases take for the same: by case, accents, width, spaces at their end, or for any emoji."""

LONGEST = tuple(first + "".join(chr(0x1F300 + 7 * at % 720) for at in range(MAX_ID_LENGTH - 1)) for first in "ab")
"""Two names of as many bytes as there may be, which hardly anything compresses."""


class StoreSuite:
    """What every store must do. Subclasses define the fixture `store`."""

    async def test_info_tells_kind_and_time(self, store: Store) -> None:
        info = await store.info()

        assert info.kind
        assert info.version
        assert info.server_time.utcoffset() is not None

    async def test_start_and_close_may_be_repeated(self, store: Store) -> None:
        await store.start()
        await store.close()
        await store.close()
        await store.start()

        assert (await store.heads.page(SessionFilter())).items == ()

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_limits_are_checked(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.log.read(a_conversation(), limit=limit)
        with pytest.raises(ValueError, match="limit"):
            await store.heads.page(SessionFilter(), limit=limit)
        with pytest.raises(ValueError, match="limit"):
            await store.heads.summaries(SessionFilter(), limit=limit)
        with pytest.raises(ValueError, match="limit"):
            await store.parked.page(limit=limit)

    async def test_odd_values_come_back_unchanged(self, store: Store) -> None:
        one = a_conversation()
        odd_id = "😀$.'\"\\" + "x" * 249
        address = an_address(chat="$chat.😀", user="'; drop table heads; --")
        commit = a_commit(one, inputs=[odd_id], events=[data_set(one, 1, ODD_VALUES)], epoch=2**40)
        head = a_head(one, version=1, data=ODD_VALUES, address=address)

        assert await store.log.append([commit]) == [None]
        await store.heads.save([head])

        assert await store.log.read(one, limit=1) == [commit]
        assert (await store.log.commits_of_inputs(one, [InputId(odd_id)])) == {odd_id: commit}
        assert (await store.log.load([one]))[one].head == head
        listed = await store.heads.page(SessionFilter(chat=address.chat, user=address.user))
        assert listed.items == (head,)

    async def test_names_that_look_alike_and_the_longest_are_names_of_their_own(self, store: Store) -> None:
        one, names = a_conversation(), (*ALIKE, *LONGEST)
        commits = {name: a_commit(one, version, inputs=[name]) for version, name in enumerate(names, start=1)}
        heads = {
            name: a_head(a_conversation(), address=an_address(user=name, chat=name)).model_copy(
                update={"identity": name, "profile": Profile(owner=name, agent_id=name, tags=(name,))}
            )
            for name in names
        }
        records = {
            name: Record(kind=RecordKind.TEMPLATE, key=name, group=name, created_at=NOON, due_at=NOON, data={"a": name})
            for name in names
        }

        assert await store.log.append(list(commits.values())) == [None] * len(names)
        await store.heads.save(list(heads.values()))
        await store.records.put_many(list(records.values()))

        assert await store.log.commits_of_inputs(one, [InputId(name) for name in names]) == commits
        for name in names:
            for where in ("user", "chat", "owner", "agent_id", "identity", "tags"):
                wanted = SessionFilter.model_validate({where: [name] if where == "tags" else name})
                assert (await store.heads.page(wanted)).items == (heads[name],)
            assert (await store.records.page(RecordKind.TEMPLATE, name)).items == (records[name],)
        for name in ("bob", "Bob", "bob ", "caf\u00e9", "cafe", *LONGEST):
            assert await store.members.begin_trial(attempt_at(name, name)) == 1
            assert [one.worker_id for one in await store.members.heartbeat(name, a_member(name), ttl=60)] == [name]
            assert await store.members.take_epoch(name, Partition(0)) == 1
            lock = await store.locks.acquire(name, ttl=60)
            assert lock is not None
            assert (lock.name, lock.token) == (name, 1)

    async def test_foreign_cursors_are_refused(self, store: Store) -> None:
        await store.parked.put(a_parked("one"))
        await store.parked.put(a_parked("two"))
        of_parked = (await store.parked.page(limit=1)).cursor
        assert of_parked is not None

        for cursor in ("", "nonsense", "é", "bnVsbA", "WzEsMl0", of_parked):
            with pytest.raises(ValueError, match="not a cursor"):
                await store.heads.page(SessionFilter(), cursor=cursor)
        with pytest.raises(ValueError, match="not a cursor"):
            await store.parked.page(cursor="nonsense")


class DurableStoreSuite(StoreSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_all_is_found_again(self, store: Store, reopened: Store) -> None:
        one = a_conversation()
        commit, head, parked = a_commit(one), a_head(one, version=0), a_parked()
        await store.log.append([commit])
        await store.heads.save([head])
        await store.parked.put(parked)
        await store.close()

        loaded = (await reopened.log.load([one]))[one]

        assert loaded.head == head
        assert loaded.commits == (commit,)
        assert await reopened.parked.get(parked.parked_id) == parked
        assert isinstance((await reopened.log.append([a_commit(one, 2, inputs=["input-1"])]))[0], DuplicateInput)

    async def test_closed_store_says_so(self, store: Store) -> None:
        await store.close()

        with pytest.raises(StoreRejected, match="not open"):
            await store.log.load([a_conversation()])
