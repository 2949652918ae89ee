"""Pages are sequences of what is on them."""

from collections.abc import Sequence

import pytest

from agentbus.sessions import Page, SessionSystem


async def test_a_page_is_the_sequence_of_its_items(system: SessionSystem) -> None:
    ids = [(await system.create_session(user_id="ann")).session_id for _ in range(3)]

    page = await system.list_user_sessions("ann", limit=2)
    rest = await system.list_user_sessions("ann", limit=2, cursor=page.cursor)

    assert isinstance(page, Sequence)
    assert (len(page), len(rest)) == (2, 1)
    assert sorted(one.session_id for one in [*page, *rest]) == sorted(ids)
    assert page[0] == page.items[0]
    assert (page[-1], page[0:1]) == (page.items[1], page.items[:1])
    assert page[1] in page
    assert list(reversed(page)) == page.items[::-1]
    with pytest.raises(IndexError):
        page[2]


async def test_an_empty_page_is_false(system: SessionSystem) -> None:
    assert not await system.list_user_sessions("nobody")
    assert Page([1])
    assert not Page([], cursor="there may be more")
