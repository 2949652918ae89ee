"""The store contract of parked inputs."""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any

import pytest

from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.port import LISTED_BODY, Store
from agentbus.storage.reading import iter_parked
from agentbus.testing.builders import a_conversation, a_moment, a_parked
from agentbus.testing.conformance.inside import kept_of

MEGABYTES = 1024 * 1024


def a_body(size: int) -> bytes:
    """Return bytes no two pieces of which are alike."""
    return hashlib.shake_128(b"body").digest(size)


def message_ids(items: tuple[ParkedInput, ...]) -> list[str]:
    return [item.message_id for item in items]


class StoreParkedSuite:
    """What every store must do for parked inputs. Subclasses define the fixture `store`."""

    async def test_parked_input_is_kept_whole(self, store: Store) -> None:
        parked = a_parked(attempts=3, conversation=a_conversation())
        parked = parked.model_copy(update={"stack": "Trace: $x.y", "position": 1_767_268_800_123_456_789})

        await store.parked.put(parked)

        assert await store.parked.get(parked.parked_id) == parked
        assert await store.parked.get(ParkedId("unknown")) is None

    async def test_parked_again_counts_up_and_waits_once_more(self, store: Store) -> None:
        await store.parked.put(a_parked(attempts=3))
        parked_id = a_parked().parked_id
        await store.parked.set_status(parked_id, ParkedStatus.REPLAYED)

        await store.parked.put(a_parked(at=60, reason="still bad"))

        kept = await store.parked.get(parked_id)
        assert kept is not None
        assert (kept.attempts, kept.status, kept.reason) == (4, ParkedStatus.PARKED, "still bad")
        assert kept.parked_at == a_moment(60)
        assert len((await store.parked.page()).items) == 1

    async def test_racing_parkings_count_each(self, store: Store) -> None:
        await asyncio.gather(*(store.parked.put(a_parked(attempts=1)) for _ in range(10)))

        kept = await store.parked.get(a_parked().parked_id)
        assert kept is not None
        assert kept.attempts == 10

    async def test_many_are_parked_as_each_would_be(self, store: Store) -> None:
        known, new, large = (
            a_parked("known", attempts=3),
            a_parked("new"),
            a_parked("large", body=a_body(3 * LISTED_BODY)),
        )
        await store.parked.put(known)
        await store.parked.set_status(known.parked_id, ParkedStatus.DISCARDED)

        await store.parked.put_many([new, known, large, new])
        await store.parked.put_many([])

        assert await store.parked.get(large.parked_id) == large
        kept = [await store.parked.get(one.parked_id) for one in (known, new)]
        assert [(one.status, one.attempts) for one in kept if one] == [
            (ParkedStatus.PARKED, 4),
            (ParkedStatus.PARKED, new.attempts + 1),
        ]

    async def test_racing_parkings_of_many_count_each(self, store: Store) -> None:
        given = [a_parked(f"p{number}", attempts=1) for number in range(5)]
        await asyncio.gather(*(store.parked.put_many(given) for _ in range(5)))

        kept = [await store.parked.get(one.parked_id) for one in given]
        assert [one.attempts for one in kept if one] == [5] * 5

    async def test_parked_inputs_are_listed_latest_first(self, store: Store) -> None:
        parked = [a_parked(f"p{second}", at=second) for second in range(5)]
        for item in parked:
            await store.parked.put(item)
        assert await store.parked.set_status(parked[2].parked_id, ParkedStatus.DISCARDED)

        first = await store.parked.page(limit=3)
        rest = await store.parked.page(limit=3, cursor=first.cursor)
        waiting = await store.parked.page(ParkedStatus.PARKED)

        assert [item.message_id for item in (*first.items, *rest.items)] == ["p4", "p3", "p2", "p1", "p0"]
        assert rest.cursor is None
        assert [item.message_id for item in waiting.items] == ["p4", "p3", "p1", "p0"]
        assert [item.message_id for item in (await store.parked.page(ParkedStatus.DISCARDED)).items] == ["p2"]

    async def test_status_of_unknown_parked_input(self, store: Store) -> None:
        assert not await store.parked.set_status(ParkedId("unknown"), ParkedStatus.DISCARDED)

    # Deleted

    async def test_parked_input_is_deleted_once(self, store: Store) -> None:
        await store.parked.put(a_parked(conversation=a_conversation()))
        await store.parked.put(a_parked("other"))
        parked_id = a_parked().parked_id

        assert await store.parked.delete(parked_id)
        assert not await store.parked.delete(parked_id)

        assert await store.parked.get(parked_id) is None
        assert message_ids((await store.parked.page()).items) == ["other"]
        assert not await store.parked.set_status(parked_id, ParkedStatus.REPLAYED)
        assert await kept_of(store, parked_id) == []

    async def test_deleted_input_may_be_parked_anew(self, store: Store) -> None:
        parked = a_parked(attempts=3)
        await store.parked.put(parked)
        await store.parked.delete(parked.parked_id)

        await store.parked.put(parked)

        assert await store.parked.get(parked.parked_id) == parked

    async def test_nothing_is_left_of_a_large_body(self, store: Store) -> None:
        parked, other = a_parked(body=a_body(20 * MEGABYTES)), a_parked("other", body=a_body(LISTED_BODY + 1))
        await store.parked.put(parked)
        await store.parked.put(other)

        assert await store.parked.delete(parked.parked_id)

        assert await kept_of(store, parked.parked_id) == []
        assert await store.parked.get(other.parked_id) == other
        # Nothing is mixed up with what was there before.
        smaller = parked.model_copy(update={"body": b"small"})
        await store.parked.put(smaller)
        assert await store.parked.get(parked.parked_id) == smaller

    @pytest.mark.parametrize("deletes_first", [True, False])
    async def test_deleted_while_it_is_parked_again(self, store: Store, deletes_first: bool) -> None:
        parked = a_parked(body=a_body(LISTED_BODY + 1))
        await store.parked.put(parked)

        calls: list[Coroutine[Any, Any, Any]] = [store.parked.put(parked), store.parked.delete(parked.parked_id)]
        await asyncio.gather(*(reversed(calls) if deletes_first else calls))

        kept = await store.parked.get(parked.parked_id)
        assert kept is None or kept.body == parked.body
        assert await store.parked.delete(parked.parked_id) == (kept is not None)
        assert await kept_of(store, parked.parked_id) == []

    # Of a conversation

    async def test_parked_inputs_of_a_conversation_are_listed(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        for second, conversation in enumerate((one, two, None, one, one)):
            await store.parked.put(a_parked(f"p{second}", at=second, conversation=conversation))
        await store.parked.set_status(a_parked("p3").parked_id, ParkedStatus.REPLAYED)

        first = await store.parked.page(conversation=one, limit=2)
        rest = await store.parked.page(conversation=one, limit=2, cursor=first.cursor)
        waiting = await store.parked.page(ParkedStatus.PARKED, conversation=one)

        assert message_ids(first.items + rest.items) == ["p4", "p3", "p0"]
        assert rest.cursor is None
        assert message_ids(waiting.items) == ["p4", "p0"]
        assert (await store.parked.page(conversation=a_conversation())).items == ()
        assert len((await store.parked.page()).items) == 5
        assert [item.message_id async for item in iter_parked(store, conversation=two)] == ["p1"]

    async def test_conversation_becomes_known_when_parked_again(self, store: Store) -> None:
        one = a_conversation()
        await store.parked.put(a_parked())

        await store.parked.put(a_parked(conversation=one))

        assert len((await store.parked.page(conversation=one)).items) == 1

    # Large bodies

    @pytest.mark.parametrize(
        "size", [0, LISTED_BODY, LISTED_BODY + 1, LISTED_BODY + 8 * MEGABYTES, LISTED_BODY + 8 * MEGABYTES + 1]
    )
    async def test_body_of_any_size_is_kept_whole(self, store: Store, size: int) -> None:
        parked = a_parked(body=a_body(size))

        await store.parked.put(parked)

        assert await store.parked.get(parked.parked_id) == parked
        assert [item.body for item in (await store.parked.page()).items] == [parked.body[:LISTED_BODY]]

    async def test_body_larger_than_a_document_is_kept_and_listed_in_short(self, store: Store) -> None:
        parked = a_parked(body=a_body(20 * MEGABYTES))
        await store.parked.put(parked)
        await store.parked.put(a_parked("other", at=-1, body=b"other"))

        await store.parked.put(parked.model_copy(update={"reason": "still bad"}))

        assert await store.parked.get(parked.parked_id) == parked.model_copy(
            update={"reason": "still bad", "attempts": 2}
        )
        listed = (await store.parked.page()).items
        assert [item.body for item in listed] == [parked.body[:LISTED_BODY], b"other"]

    async def test_racing_parkings_of_a_large_body(self, store: Store) -> None:
        parked = a_parked(body=a_body(9 * MEGABYTES))

        await asyncio.gather(*(store.parked.put(parked) for _ in range(4)))

        assert await store.parked.get(parked.parked_id) == parked.model_copy(update={"attempts": 4})
