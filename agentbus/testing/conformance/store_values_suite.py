"""The store contract of what may be in things: unicode, bytes, depth, size, and moments by clocks that are wrong."""

from datetime import UTC, datetime
from functools import partial

import pytest
from pydantic import JsonValue

from agentbus.contracts.base import MAX_DATA_BYTES, MAX_TEXT_LENGTH
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import MAX_COMPONENTS_BYTES, Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.digest import canonical
from agentbus.storage.port import LISTED_BODY, Store
from agentbus.testing.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_moment,
    a_parked,
    an_address,
    appended,
    data_set,
)
from agentbus.testing.cancelling import Call, When, cancel_everywhere

TEXTS = ("é", "e\u0301", "😀", "👩‍👩‍👧", "ﬁ", "\u202eabc", "\u0000", "\ufeff", "İ", "ß", "Ω", "\U0010ffff")
"""Composed and decomposed, joined, turned round, without a width, with upper cases that are longer."""

FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)


def nested(depth: int) -> dict[str, JsonValue]:
    """Return an object of so many levels, lists and objects by turns."""
    value: JsonValue = "deep"
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a.b": value}
    return {"$top": value}


class StoreValuesSuite:
    """What every store must keep as it is. Subclasses define the fixture `store`."""

    async def test_unicode_stays_as_it_is_and_what_looks_alike_is_told_apart(self, store: Store) -> None:
        one = a_conversation()
        ids = [text for text in TEXTS if text != "\u0000"]
        events = [data_set(one, 1, {text: list(TEXTS) for text in ids})]
        commit = a_commit(one, inputs=ids, events=events)
        await store.log.append([commit])

        [kept] = await store.log.read(one, limit=1)

        assert canonical(kept) == canonical(commit)
        for text in ids:
            assert list(await store.log.commits_of_inputs(one, [InputId(text)])) == [text]
        records = [Record(kind=RecordKind.TEMPLATE, key=text, created_at=a_moment(), data={"k": text}) for text in ids]
        await store.records.put_many(records)
        for record in records:
            assert await store.records.get(RecordKind.TEMPLATE, record.key) == record
        heads = [a_head(a_conversation(), address=an_address(chat=text)) for text in ids]
        await store.heads.save(heads)
        for head, text in zip(heads, ids, strict=True):
            assert (await store.heads.page(SessionFilter(chat=text))).items == (head,)

    async def test_numbers_keep_their_kinds(self, store: Store) -> None:
        numbers: list[JsonValue] = [0, 0.0, -0.0, 1, 1.0, True, False, 2**53 + 1, -(2**63), 1e308, 5e-324, 0.1 + 0.2]
        one = a_conversation()
        commit, head = a_commit(one, events=[data_set(one, 1, {"n": numbers})]), a_head(one, data={"n": numbers})
        record = Record(kind=RecordKind.TEMPLATE, key="n", created_at=a_moment(), data={"n": numbers})
        await store.log.append([commit])
        await store.heads.save([head])
        await store.records.put(record)

        [kept] = await store.log.read(one, limit=1)
        found = (kept, await store.heads.get(head.session_id), await store.records.get(RecordKind.TEMPLATE, "n"))
        assert [canonical(one) for one in found if one] == [canonical(one) for one in (commit, head, record)]

    async def test_every_byte_of_a_body_stays(self, store: Store) -> None:
        body = bytes(range(256)) * (LISTED_BODY // 128) + b"\xff\x00"
        parked = a_parked("bytes", body=body)

        await store.parked.put(parked)

        assert await store.parked.get(parked.parked_id) == parked
        assert (await store.parked.page()).items[0].body == body[:LISTED_BODY]

    @pytest.mark.parametrize("depth", [2, 31, 32])
    async def test_deep_things_stay_as_deep(self, store: Store, depth: int) -> None:
        one, value = a_conversation(), nested(depth)
        commit, head = a_commit(one, events=[data_set(one, 1, value)]), a_head(one, data=value)
        record = Record(kind=RecordKind.TEMPLATE, key="deep", created_at=a_moment(), data=value)

        assert await store.log.append([commit]) == [None]
        assert await store.heads.save([head]) == [None]
        assert await store.records.put(record)

        assert await store.log.read(one, limit=1) == [commit]
        assert await store.heads.get(head.session_id) == head
        assert await store.records.get(RecordKind.TEMPLATE, "deep") == record

    async def test_the_largest_things_of_an_input_are_kept(self, store: Store) -> None:
        one = a_conversation()
        said = appended(one, 1, "m")
        text = TextContent(text="😀" * MAX_TEXT_LENGTH)
        large = said.model_copy(update={"message": said.message.model_copy(update={"content": text})})
        commit = a_commit(one, events=[large, data_set(one, 2, {"k": "x" * (MAX_DATA_BYTES - 100)})])
        head = a_head(one, data={"k": "x" * (MAX_DATA_BYTES - 100)})
        data: dict[str, JsonValue] = {"k": "é" * (MAX_COMPONENTS_BYTES // 2 - 100)}
        record = Record(kind=RecordKind.COMPONENTS, key="large", created_at=a_moment(), data=data)

        assert await store.log.append([commit]) == [None]
        assert await store.heads.save([head]) == [None]
        assert await store.records.put(record)

        assert await store.log.read(one, limit=1) == [commit]
        assert (await store.log.load([one]))[one].head == head
        assert await store.records.get(RecordKind.COMPONENTS, "large") == record

    async def test_moments_by_wrong_clocks_are_kept_and_sorted(self, store: Store) -> None:
        one = a_conversation()
        moments = (a_moment(60), a_moment(), LAST, FIRST)
        for version, at in enumerate(moments, 1):
            assert await store.log.append([a_commit(one, version).model_copy(update={"at": at})]) == [None]
        heads = [_active(at) for at in (LAST, a_moment(), FIRST)]
        await store.heads.save(list(reversed(heads)))

        assert [commit.at for commit in await store.log.read(one, limit=9)] == list(moments)
        assert (await store.heads.page(SessionFilter())).items == tuple(heads)
        first = await store.heads.page(SessionFilter(), limit=1)
        assert (await store.heads.page(SessionFilter(), limit=9, cursor=first.cursor)).items == tuple(heads[1:])
        told = await store.heads.statistics(SessionFilter())
        assert (told.total, told.mean_seconds >= 0) == (3, True)

    @pytest.mark.parametrize("when", [When.THERE, When.INSISTING])
    async def test_an_append_of_unknown_outcome_is_found_out_and_made_again(self, store: Store, when: When) -> None:
        tried = [a_conversation()]

        async def appending() -> Call:
            tried.append(a_conversation())
            return store.log.append([a_commit(tried[-1])])

        async def it_is_there_once_it_is_made_again() -> None:
            commit = a_commit(tried[-1])
            was_there = (await store.log.load([tried[-1]]))[tried[-1]].commits == (commit,)
            [refused] = await store.log.append([commit])
            assert (refused is not None) is was_there
            assert await store.log.read(tried[-1], limit=9) == [commit]

        await cancel_everywhere(appending, partial(it_is_there_once_it_is_made_again), when=when)


def _active(at: datetime) -> SessionState:
    return a_head(a_conversation()).model_copy(update={"last_activity": at})
