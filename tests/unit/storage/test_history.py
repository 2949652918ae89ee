"""History pages: order, cursors, and later changes worked in."""

from collections.abc import Sequence
from typing import Any

import pytest

from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.history import HistoryMessage, Reaction
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import ALL_REACTIONS, CommandContent, TextContent
from agentbus.contracts.session import SessionState
from agentbus.storage.history import history_page, iter_history
from agentbus.storage.memory import MemoryStore
from tests.harness.builders import a_commit, a_conversation, a_head, a_moment, appended, deleted, edited, reacted

ONE = a_conversation("one")


async def _kept(*events: Sequence[AnyEvent], conversation: ConversationId = ONE) -> tuple[MemoryStore, SessionState]:
    """Return a store with a commit for each group of events, and the head of session 1."""
    store = MemoryStore()
    for version, group in enumerate(events, 1):
        assert await store.log.append([a_commit(conversation, version, events=group)]) == [None]
    return store, a_head(conversation, version=len(events))


def _texts(items: Sequence[HistoryMessage]) -> list[str]:
    return [item.message.content.text for item in items if isinstance(item.message.content, TextContent)]


async def test_pages_go_back_and_read_forward() -> None:
    groups = [[appended(ONE, n * 3 + step, f"m{n * 3 + step}") for step in (1, 2, 3)] for n in range(50)]
    store, session = await _kept(*groups)

    first = await history_page(store, session, limit=4)
    second = await history_page(store, session, limit=4, cursor=first.cursor)

    assert [item.sequence for item in first.items] == [147, 148, 149, 150]
    assert [item.sequence for item in second.items] == [143, 144, 145, 146]


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 150, 151, 1000])
async def test_pages_cover_everything_once(limit: int) -> None:
    groups = [[appended(ONE, n * 3 + step, f"m{n * 3 + step}") for step in (1, 2, 3)] for n in range(50)]
    store, session = await _kept(*groups)

    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = await history_page(store, session, limit=limit, cursor=cursor)
        seen = [item.sequence for item in page.items] + seen
        cursor = page.cursor
        if cursor is None:
            break

    assert seen == list(range(1, 151))


async def test_a_page_reads_about_as_many_commits_as_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [[appended(ONE, n * 10 + step, f"m{n * 10 + step}") for step in range(1, 11)] for n in range(50)]
    store, session = await _kept(*groups)
    read: list[int] = []
    reading = store.log.read

    async def noted(*arguments: Any, **named: Any) -> list[Commit]:
        commits = await reading(*arguments, **named)
        read.append(len(commits))
        return commits

    monkeypatch.setattr(store.log, "read", noted)
    page = await history_page(store, session.model_copy(update={"message_count": 500}), limit=100)

    assert [item.sequence for item in page.items] == list(range(401, 501))
    assert sum(read) == 11  # ten, and one to know whether there are more


async def test_iterating_reads_everything_forward() -> None:
    store, session = await _kept(*([appended(ONE, n, f"m{n}")] for n in range(1, 251)), [edited(ONE, 251, "m1", "new")])

    items = [item async for item in iter_history(store, session)]

    assert [item.sequence for item in items] == list(range(1, 251))
    assert _texts(items)[:2] == ["new", "says m2"]


async def test_empty_history() -> None:
    store, session = await _kept()

    assert (await history_page(store, session)).items == ()
    assert [item async for item in iter_history(store, session)] == []


async def test_only_the_sessions_own_messages_show() -> None:
    store, session = await _kept(
        [appended(ONE, 1, "a")],
        [appended(ONE, 2, "b"), appended(ONE, 1, "c", generation=2)],
        [appended(ONE, 2, "d", generation=2)],
    )
    next_session = a_head(ONE, generation=2, version=3, first_version=2)
    session = session.model_copy(update={"version": 2})

    assert _texts((await history_page(store, session)).items) == ["says a", "says b"]
    assert _texts((await history_page(store, next_session)).items) == ["says c", "says d"]
    assert _texts([item async for item in iter_history(store, next_session)]) == ["says c", "says d"]


async def test_edits_are_worked_in_with_the_last_one_standing() -> None:
    store, session = await _kept(
        [appended(ONE, 1, "a"), appended(ONE, 2, "b")], [edited(ONE, 3, "a", "x")], [edited(ONE, 4, "a", "y")]
    )

    first, second = (await history_page(store, session)).items

    assert first.message.content == TextContent(text="y")
    assert first.edited_at == a_moment(4)
    assert second.edited_at is None


async def test_edit_keeps_the_reply_and_turns_a_command_into_text() -> None:
    reply, command = appended(ONE, 1, "a"), appended(ONE, 2, "b")
    contents = (TextContent(text="a", reply_to="0"), CommandContent(name="start"))
    events = [
        event.model_copy(update={"message": event.message.model_copy(update={"content": content})})
        for event, content in zip((reply, command), contents, strict=True)
    ]
    store, session = await _kept(events, [edited(ONE, 3, "a", "x"), edited(ONE, 4, "b", "y")])

    items = (await history_page(store, session)).items

    assert [item.message.content for item in items] == [TextContent(text="x", reply_to="0"), TextContent(text="y")]


async def test_deleted_message_keeps_its_place() -> None:
    store, session = await _kept(
        [appended(ONE, 1, "a")], [deleted(ONE, 2, "a")], [edited(ONE, 3, "a", "late"), deleted(ONE, 4, "a")]
    )

    [item] = (await history_page(store, session)).items

    assert item.message.content == TextContent()
    assert item.deleted_at == a_moment(2)
    assert item.edited_at is None


async def test_changes_from_a_later_session_count() -> None:
    store, session = await _kept([appended(ONE, 1, "a")], [edited(ONE, 1, "a", "later", generation=2)])

    [item] = (await history_page(store, session.model_copy(update={"version": 1}))).items

    assert item.message.content == TextContent(text="later")


async def test_reactions_are_a_set_per_user() -> None:
    store, session = await _kept(
        [appended(ONE, 1, "a")],
        [reacted(ONE, 2, "a", "👍"), reacted(ONE, 3, "a", "👍"), reacted(ONE, 4, "a", "❤")],
        [reacted(ONE, 5, "a", "👍", user="bo"), reacted(ONE, 6, "a", "❤", removed=True)],
        [reacted(ONE, 7, "a", "never there", removed=True)],
    )

    [item] = (await history_page(store, session)).items

    assert set(item.reactions) == {Reaction(user="user", reaction="👍"), Reaction(user="bo", reaction="👍")}
    assert len(item.reactions) == 2


async def test_all_reactions_of_somebody_may_be_taken_back_at_once() -> None:
    store, session = await _kept(
        [appended(ONE, 1, "a"), reacted(ONE, 2, "a", "👍"), reacted(ONE, 3, "a", "❤")],
        [reacted(ONE, 4, "a", "👍", user="bo"), reacted(ONE, 5, "a", ALL_REACTIONS, removed=True)],
        [reacted(ONE, 6, "a", "👎")],
    )

    [item] = (await history_page(store, session)).items

    assert set(item.reactions) == {Reaction(user="bo", reaction="👍"), Reaction(user="user", reaction="👎")}


async def test_bad_cursors_are_refused() -> None:
    store, session = await _kept(*([appended(ONE, n, f"m{n}")] for n in range(1, 5)))
    other = a_conversation("other")
    store_of_other, session_of_other = await _kept(
        *([appended(other, n, f"m{n}")] for n in range(1, 5)), conversation=other
    )
    foreign = (await history_page(store_of_other, session_of_other, limit=1)).cursor
    assert foreign is not None

    for cursor in ("", "nonsense", foreign):
        with pytest.raises(ValueError, match="not a cursor"):
            await history_page(store, session, cursor=cursor)
    with pytest.raises(ValueError, match="limit"):
        await history_page(store, session, limit=0)
