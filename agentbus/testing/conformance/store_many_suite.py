"""The store contract of much: a long history paged both ways, and many sessions listed by pages.

How many there are says `--many`; how long a page may take says `--page-budget`.
"""

import statistics
import time
from itertools import islice

import pytest

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.session import SessionState
from agentbus.storage.history import history_page, iter_history
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.testing.builders import a_commit, a_conversation, a_head, appended

FEW = 240
"""How many messages and sessions there are unless `--many` says."""
PAGE_SECONDS = "page_seconds"
"""The property of a test's report that says what a page took, the median."""
_OF_A_COMMIT = 40


class StoreManySuite:
    """What every store must do with much. Subclasses define the fixture `store`."""

    async def test_a_long_history_is_paged_both_ways(self, store: Store, request: pytest.FixtureRequest) -> None:
        count = many_of(request)
        one = a_conversation()
        versions = -(-count // _OF_A_COMMIT)
        for version in range(1, versions + 1):
            first = (version - 1) * _OF_A_COMMIT + 1
            names = range(first, min(first + _OF_A_COMMIT, count + 1))
            events = [appended(one, number, str(number)) for number in names]
            assert await store.log.append([a_commit(one, version, events=events)]) == [None]
        head = a_head(one, version=versions).model_copy(update={"sequence": count, "message_count": count})
        await store.heads.save([head])

        forwards = [item.sequence async for item in iter_history(store, head)]
        assert forwards == list(range(1, count + 1))
        backwards: list[int] = []
        cursor, spent = None, list[float]()
        while True:
            begun = time.monotonic()
            page = await history_page(store, head, limit=MAX_PAGE, cursor=cursor)
            spent.append(time.monotonic() - begun)
            backwards += [item.sequence for item in reversed(page.items)]
            if (cursor := page.cursor) is None:
                break
        assert backwards == forwards[::-1]
        in_time(request, spent)

    async def test_many_sessions_are_listed_by_pages(self, store: Store, request: pytest.FixtureRequest) -> None:
        count = many_of(request)
        made = iter([a_head(a_conversation(), active=number % 1000) for number in range(count)])
        expected: list[SessionState] = []
        while some := list(islice(made, 500)):
            assert set(await store.heads.save(some)) == {None}
            expected += some
        expected.sort(key=lambda head: (-head.last_activity.timestamp() if head.last_activity else 0, head.session_id))

        found: list[SessionState] = []
        cursor, spent = None, list[float]()
        while True:
            begun = time.monotonic()
            page = await store.heads.page(SessionFilter(), limit=min(MAX_PAGE, max(1, count // 5)), cursor=cursor)
            spent.append(time.monotonic() - begun)
            found += page.items
            if (cursor := page.cursor) is None:
                break
        assert [head.session_id for head in found] == [head.session_id for head in expected]
        assert (await store.heads.statistics(SessionFilter())).total == count
        in_time(request, spent)


def many_of(request: pytest.FixtureRequest) -> int:
    """Return how many messages, and sessions, are made."""
    return int(request.config.getoption("--many", None) or FEW)


def in_time(request: pytest.FixtureRequest, spent: list[float]) -> None:
    """Note what a page took, the median of all, in seconds; fail if that is above the budget, if there is one."""
    median = statistics.median(spent)
    request.node.user_properties.append((PAGE_SECONDS, median))
    budget: float | None = request.config.getoption("--page-budget", None)
    assert budget is None or median <= budget, f"a page took {median:.3f} s, the budget is {budget} s"
