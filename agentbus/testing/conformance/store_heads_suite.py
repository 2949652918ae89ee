"""The store contract of the heads: lists, by profile, by what is due, and in figures."""

import asyncio
from typing import Any

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.profile import Permission, Profile, SessionType, Visibility
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.storage.summaries import summary_of
from agentbus.testing.builders import (
    NOON,
    a_commit,
    a_conversation,
    a_head,
    a_moment,
    an_address,
)

HOUR = 3600.0
ODD_TAGS = ("$a.b", "'; drop table heads; --", '",', '["x"]', "x\u0000y", "😀 %_\\", " ")


def a_session(
    conversation: ConversationId | None = None, *, messages: int = 0, profile: Profile | None = None, **changes: Any
) -> SessionState:
    """Return a head of a new conversation with so many messages; `changes` are those of `a_head`."""
    head = a_head(conversation or a_conversation(), **changes)
    return head.model_copy(update={"profile": profile or Profile(), "message_count": messages})


def idle_after(seconds: float, **changes: Any) -> SessionState:
    """Return a head that is due so many seconds after its last activity."""
    return a_session(profile=Profile(idle_timeout=seconds), **changes)


async def found(store: Store, where: SessionFilter) -> list[SessionState]:
    """Return the heads that are found; what a list shows of them is looked at beside them."""
    page = await store.heads.page(where)
    assert await store.heads.summaries(where) == Page(items=tuple(map(summary_of, page.items)), cursor=page.cursor)
    return list(page.items)


class StoreHeadsSuite:
    """What every store must do for heads. Subclasses define the fixture `store`."""

    async def test_a_head_saved_after_the_one_that_came_with_its_commit_is_read(self, store: Store) -> None:
        one = a_conversation()
        first, second = a_head(one, version=1), a_head(one, version=2, data={"later": True})
        _, saved = await store.log.commit([a_commit(one, 1)], [first])
        if not saved:
            await store.heads.save([first])
        assert await store.heads.get(first.session_id) == first
        await store.heads.save([second])
        assert await store.heads.get(first.session_id) == second

    async def test_head_never_goes_back(self, store: Store) -> None:
        one = a_conversation()
        await store.heads.save([a_head(one, version=5)])

        await store.heads.save([a_head(one, version=4, data={"old": True})])
        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=5)

        await store.heads.save([a_head(one, version=5, data={"same": True})])
        await store.heads.save([a_head(one, version=7), a_head(one, version=6)])
        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=7)

    async def test_what_is_written_is_read_at_once_and_never_goes_back(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        assert await store.heads.write([a_head(one, version=5), a_head(two, version=1)]) == [None, None]

        assert await store.heads.write([a_head(one, version=4, data={"old": True})]) == [None]
        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=5)
        assert await store.heads.write([a_head(two, version=2)]) == [None]
        assert await store.heads.get(a_head(two).session_id) == a_head(two, version=2)

    async def test_flushing_keeps_what_is_written_and_what_is_newer(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        written = [a_head(one, version=5), a_head(two, version=1)]
        await store.heads.write(written)
        await store.heads.write([a_head(one, version=6)])

        await store.heads.flush(written)
        await store.heads.flush([])

        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=6)
        assert await store.heads.get(a_head(two).session_id) == a_head(two, version=1)

    async def test_flushing_saves_again_what_the_server_has_lost(self, store: Store) -> None:
        if not store.heads.flushes:
            return  # Nothing is lost that was written.
        kept, lost, behind = a_conversation(), a_conversation(), a_conversation()
        await store.heads.save([a_head(kept, version=5), a_head(behind, version=4)])

        await store.heads.flush([a_head(kept, version=5), a_head(lost, version=1), a_head(behind, version=7)])

        found = [await store.heads.get(a_head(one).session_id) for one in (kept, lost, behind)]
        assert found == [a_head(kept, version=5), a_head(lost, version=1), a_head(behind, version=7)]

    async def test_older_head_leaves_its_batch_alone(self, store: Store) -> None:
        one, two, three = (a_conversation() for _ in range(3))
        await store.heads.save([a_head(two, version=9)])

        await store.heads.save([a_head(one, version=1), a_head(two, version=8), a_head(three, version=1)])

        loaded = await store.log.load([one, two, three])
        assert [loaded[key].head for key in (one, two, three)] == [
            a_head(one, version=1),
            a_head(two, version=9),
            a_head(three, version=1),
        ]

    async def test_newest_of_racing_heads_stays(self, store: Store) -> None:
        one = a_conversation()

        await asyncio.gather(*(store.heads.save([a_head(one, version=version)]) for version in range(1, 21)))

        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=20)

    async def test_unknown_head_is_none(self, store: Store) -> None:
        assert await store.heads.get(SessionId(f"{a_conversation()}.1")) is None

    async def test_head_without_address_or_activity(self, store: Store) -> None:
        one = a_conversation()
        bare = SessionState(conversation_id=one, generation=1, version=1)

        await store.heads.save([bare, a_head(a_conversation())])

        assert await store.heads.get(bare.session_id) == bare
        first = await store.heads.page(SessionFilter(), limit=1)
        assert (await store.heads.page(SessionFilter(), limit=1, cursor=first.cursor)).items == (bare,)

    async def test_state_without_session_is_no_head(self, store: Store) -> None:
        with pytest.raises(ValueError, match="no session"):
            await store.heads.save([SessionState.empty(a_conversation())])

    async def test_sessions_are_listed_latest_first(self, store: Store) -> None:
        heads = [a_head(a_conversation(), active=second) for second in (3, 1, 2, 2, 2, 5)]
        await store.heads.save(heads)
        expected = sorted(heads, key=lambda head: (-(head.last_activity or a_moment()).timestamp(), head.session_id))

        everything = await store.heads.page(SessionFilter())
        seen: list[SessionState] = []
        cursor: str | None = None
        while len(seen) < len(heads):
            page = await store.heads.page(SessionFilter(), limit=2, cursor=cursor)
            seen += page.items
            cursor = page.cursor

        assert list(everything.items) == expected
        assert everything.cursor is None
        assert seen == expected
        assert cursor is None

    async def test_lists_show_what_heads_say(self, store: Store) -> None:
        address = Address(platform=Platform("teams"), account="second", chat="room", thread="t.1", user="$u.😀")
        whole = a_head(a_conversation(), generation=3, version=7, address=address, active=5.25, data={"a.b": {"$x": 1}})
        profile = Profile(
            owner="ann", agent_id="helper", session_type=SessionType.GROUP, tags=ODD_TAGS, expires_at=a_moment(HOUR)
        )
        more = {"profile": profile, "state": "on.hold", "identity": "ann", "message_count": 3, "blocked_by": "input-3"}
        whole = whole.model_copy(update={**more, "waiting": (InputId("input-4"),)})
        bare = SessionState(conversation_id=a_conversation(), generation=1, version=1)
        await store.heads.save([whole, bare])

        [first, last] = (await store.heads.summaries(SessionFilter())).items

        assert last == summary_of(bare)
        assert dict(first) == {
            "session_id": whole.session_id,
            "status": SessionStatus.ACTIVE,
            "state": "on.hold",
            "address": address,
            "owner": "ann",
            "agent_id": "helper",
            "session_type": SessionType.GROUP,
            "tags": ODD_TAGS,
            "identity": "ann",
            "created_at": NOON,
            "last_activity": a_moment(5.25),
            "expires_at": a_moment(HOUR),
            "message_count": 3,
            "version": 7,
            "has_conflicts": False,
            "blocked": True,
        }

    async def test_cursors_of_lists_and_pages_are_the_same(self, store: Store) -> None:
        heads = [a_head(a_conversation(), active=-number) for number in range(5)]
        await store.heads.save(heads)

        first = await store.heads.summaries(SessionFilter(), limit=2)
        second = await store.heads.page(SessionFilter(), limit=2, cursor=first.cursor)
        last = await store.heads.summaries(SessionFilter(), limit=2, cursor=second.cursor)

        seen = [one.session_id for one in first.items]
        seen += [head.session_id for head in second.items]
        seen += [one.session_id for one in last.items]
        assert seen == [head.session_id for head in heads]
        assert (first.cursor, last.cursor) == ((await store.heads.page(SessionFilter(), limit=2)).cursor, None)

    async def test_pages_stay_right_while_others_write(self, store: Store) -> None:
        heads = [a_head(a_conversation(), active=second) for second in range(6)]
        await store.heads.save(heads)

        first = await store.heads.page(SessionFilter(), limit=2)
        await store.heads.save(
            [a_head(heads[5].conversation_id, version=2, active=100), a_head(a_conversation(), active=99)]
        )
        second = await store.heads.page(SessionFilter(), limit=10, cursor=first.cursor)

        assert first.items == (heads[5], heads[4])
        assert second.items == (heads[3], heads[2], heads[1], heads[0])

    async def test_sessions_are_filtered(self, store: Store) -> None:
        one, two, three = (a_conversation() for _ in range(3))
        heads = [
            a_head(one, address=an_address(chat="c1", user="u1")),
            a_head(two, address=an_address(chat="c2", user="u1", platform=Platform.SLACK), status=SessionStatus.CLOSED),
            a_head(three, address=an_address(chat="c2", user="u2")),
        ]
        await store.heads.save(heads)

        async def found(where: SessionFilter) -> set[str]:
            return {head.conversation_id for head in (await store.heads.page(where)).items}

        assert await found(SessionFilter(chat="c2")) == {two, three}
        assert await found(SessionFilter(user="u1")) == {one, two}
        assert await found(SessionFilter(platform=Platform.SLACK)) == {two}
        assert await found(SessionFilter(status=SessionStatus.ACTIVE)) == {one, three}
        assert await found(SessionFilter(conversation_id=three)) == {three}
        assert await found(SessionFilter(account="default")) == {one, two, three}
        assert await found(SessionFilter(chat="c2", user="u2")) == {three}
        assert await found(SessionFilter(user="nobody")) == set()

    # By profile

    async def test_profile_comes_back_whole(self, store: Store) -> None:
        profile = Profile(
            owner="$owner.😀",
            agent_id="agent",
            parent_id=SessionId(f"{a_conversation()}.1"),
            ai_model="model",
            template="template",
            tags=ODD_TAGS,
            visibility=Visibility.SHARED,
            shares={"$ann": Permission.READ, "bob.b%2E": Permission.WRITE, "data": Permission.READ},
            expires_at=a_moment(HOUR),
            lifetime=HOUR,
            idle_timeout=0.001,
        )
        head = a_session(profile=profile, messages=3)

        await store.heads.save([head])

        assert await store.heads.get(head.session_id) == head
        assert await found(store, SessionFilter(owner="$owner.😀")) == [head]

    async def test_sessions_are_filtered_by_owner_agent_and_parent(self, store: Store) -> None:
        parent = SessionId(f"{a_conversation()}.1")
        anns, bobs = Profile(owner="ann", agent_id="helper"), Profile(owner="bob", agent_id="helper", parent_id=parent)
        first, second = a_session(profile=anns), a_session(profile=anns, active=1, address=an_address(chat="other"))
        third, nobodys = a_session(profile=bobs, active=2), a_session(active=3)
        await store.heads.save([first, second, third, nobodys])

        assert await found(store, SessionFilter(owner="ann")) == [second, first]
        assert await found(store, SessionFilter(owner="ann", chat="other")) == [second]
        assert await found(store, SessionFilter(agent_id="helper")) == [third, second, first]
        assert await found(store, SessionFilter(agent_id="helper", owner="bob")) == [third]
        assert await found(store, SessionFilter(parent_id=parent)) == [third]
        assert await found(store, SessionFilter(parent_id=parent, owner="ann")) == []
        assert await found(store, SessionFilter(owner="Ann")) == []
        assert await found(store, SessionFilter()) == [nobodys, third, second, first]

    async def test_sessions_are_filtered_by_all_of_their_tags(self, store: Store) -> None:
        both, one = a_session(profile=Profile(tags=("a", "b"))), a_session(profile=Profile(tags=("b",)), active=1)
        await store.heads.save([both, one, a_session(active=2)])

        assert await found(store, SessionFilter(tags=("b",))) == [one, both]
        assert await found(store, SessionFilter(tags=("b", "a"))) == [both]
        assert await found(store, SessionFilter(tags=("a", "a"))) == [both]
        assert await found(store, SessionFilter(tags=("a", "c"))) == []
        assert await found(store, SessionFilter(tags=("A",))) == []

    async def test_tags_may_be_any_text(self, store: Store) -> None:
        tagged = {tag: a_session(profile=Profile(tags=("plain", tag, "x,"))) for tag in ODD_TAGS}
        await store.heads.save(list(tagged.values()))

        assert {tag: await found(store, SessionFilter(tags=(tag,))) for tag in ODD_TAGS} == {
            tag: [head] for tag, head in tagged.items()
        }
        assert await found(store, SessionFilter(tags=('x","plain',))) == []

    async def test_list_follows_a_profile_that_changes(self, store: Store) -> None:
        head = a_session(profile=Profile(owner="ann", tags=("old",), expires_at=NOON))
        await store.heads.save([head])

        changed = head.model_copy(update={"version": 2, "profile": Profile(owner="bob", tags=("new",))})
        await store.heads.save([changed])

        assert await found(store, SessionFilter(owner="ann")) == await found(store, SessionFilter(tags=("old",))) == []
        assert await found(store, SessionFilter(owner="bob", tags=("new",))) == [changed]
        assert await store.heads.due(NOON, limit=10) == []

    async def test_pages_of_an_owner_stay_right_while_others_write(self, store: Store) -> None:
        anns = [a_session(profile=Profile(owner="ann"), active=second // 2) for second in range(7)]
        await store.heads.save([*anns, *(a_session(profile=Profile(owner="bob"), active=n) for n in range(3))])
        everything = await found(store, SessionFilter(owner="ann"))

        page = await store.heads.page(SessionFilter(owner="ann"), limit=3)
        seen = list(page.items)
        await store.heads.save([a_session(profile=Profile(owner="ann"), active=100)])
        while page.cursor:
            page = await store.heads.page(SessionFilter(owner="ann"), limit=3, cursor=page.cursor)
            seen += page.items

        assert seen == everything
        assert len(seen) == 7

    # Deleted ones

    async def test_deleted_sessions_are_listed_only_if_asked_for(self, store: Store) -> None:
        ann = Profile(owner="ann", tags=("a",))
        gone, kept = a_session(profile=ann, status=SessionStatus.DELETED), a_session(profile=ann, active=-1)
        await store.heads.save([gone, kept])

        assert await found(store, SessionFilter()) == [kept]
        assert await found(store, SessionFilter(owner="ann", tags=("a",))) == [kept]
        assert await found(store, SessionFilter(conversation_id=gone.conversation_id)) == []
        assert await found(store, SessionFilter(status=SessionStatus.DELETED)) == [gone]
        assert (await store.heads.page(SessionFilter(), limit=1)).cursor is None
        assert await store.heads.get(gone.session_id) == gone
        assert (await store.log.load([gone.conversation_id]))[gone.conversation_id].head == gone

    async def test_older_head_does_not_bring_a_deleted_session_back(self, store: Store) -> None:
        ann = Profile(owner="ann", tags=("a",), expires_at=NOON)
        gone = a_session(profile=ann, status=SessionStatus.DELETED, version=5, messages=1)
        await store.heads.save([gone])

        await store.heads.save([gone.model_copy(update={"version": 4, "status": SessionStatus.ACTIVE})])

        assert await found(store, SessionFilter(owner="ann")) == []
        assert await found(store, SessionFilter(tags=("a",))) == []
        assert await store.heads.due(NOON, limit=10) == []
        assert (await store.heads.statistics(SessionFilter())).total == 0

    # Due

    async def test_due_sessions_come_earliest_first(self, store: Store) -> None:
        late, early, same = idle_after(60, active=30), idle_after(20, active=30), idle_after(20, active=30)
        expiring = a_session(profile=Profile(expires_at=a_moment(40), idle_timeout=HOUR))
        later, never = idle_after(HOUR), a_session()
        await store.heads.save([late, early, same, expiring, later, never])
        expected = [expiring, *sorted((early, same), key=lambda head: head.session_id), late]

        assert await store.heads.due(a_moment(100), limit=10) == expected
        assert await store.heads.due(a_moment(90), limit=10) == expected
        assert await store.heads.due(a_moment(89.999), limit=10) == expected[:3]
        assert await store.heads.due(a_moment(100), limit=2) == expected[:2]
        assert await store.heads.due(a_moment(39.9999), limit=10) == []

    async def test_what_is_not_live_is_never_due(self, store: Store) -> None:
        head = idle_after(1)
        await store.heads.save([head])
        assert await store.heads.due(a_moment(HOUR), limit=10) == [head]

        await store.heads.save([head.model_copy(update={"version": 2, "status": SessionStatus.IDLE})])
        await store.heads.save([a_session(profile=Profile(expires_at=NOON), status=SessionStatus.CLOSED)])

        assert await store.heads.due(a_moment(HOUR), limit=10) == []

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_limit_of_due_is_checked(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.heads.due(NOON, limit=limit)

    # Statistics

    async def test_statistics_of_nothing(self, store: Store) -> None:
        statistics = await store.heads.statistics(SessionFilter())

        assert (statistics.total, statistics.by_status, statistics.messages, statistics.mean_seconds) == (0, {}, 0, 0)

    async def test_statistics_add_up_the_heads(self, store: Store) -> None:
        ann = Profile(owner="ann", tags=("a",))
        await store.heads.save(
            [
                a_session(profile=ann, messages=3, active=1.5),
                a_session(profile=ann, messages=4, active=10, status=SessionStatus.CLOSED),
                a_session(messages=5, active=100),
                a_session(messages=1000, active=1000, status=SessionStatus.DELETED),
            ]
        )

        everything = await store.heads.statistics(SessionFilter())
        anns = await store.heads.statistics(SessionFilter(owner="ann", tags=("a",)))
        closed = await store.heads.statistics(SessionFilter(status=SessionStatus.CLOSED))

        assert (everything.total, everything.messages) == (3, 12)
        assert everything.by_status == {SessionStatus.ACTIVE: 2, SessionStatus.CLOSED: 1}
        assert everything.mean_seconds == pytest.approx(111.5 / 3)
        assert (anns.total, anns.messages, anns.mean_seconds) == (2, 7, 5.75)
        assert (closed.by_status, closed.messages) == ({SessionStatus.CLOSED: 1}, 4)
        assert (await store.heads.statistics(SessionFilter(status=SessionStatus.DELETED))).total == 0

    async def test_session_without_activity_lasted_no_time(self, store: Store) -> None:
        bare = SessionState(conversation_id=a_conversation(), generation=1, version=1, status=SessionStatus.ACTIVE)
        backwards = a_session(active=-5)
        await store.heads.save([bare, backwards, a_session(active=6)])

        statistics = await store.heads.statistics(SessionFilter())

        assert (statistics.total, statistics.mean_seconds) == (3, 2)


class DurableStoreHeadsSuite(StoreHeadsSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_lists_are_found_again(self, store: Store, reopened: Store) -> None:
        head = a_session(profile=Profile(owner="ann", tags=("a",), expires_at=NOON), messages=2)
        await store.heads.save([head])
        await store.close()

        assert await found(reopened, SessionFilter(owner="ann", tags=("a",))) == [head]
        assert await reopened.heads.due(NOON, limit=10) == [head]
        assert (await reopened.heads.statistics(SessionFilter(owner="ann"))).messages == 2
