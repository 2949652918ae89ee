"""The store contract: every promise of `storage.port.Store`. A class per backend inherits it and gives `store`."""

import asyncio

import pytest
from pydantic import JsonValue

from contracts.address import Platform
from contracts.errors import DuplicateInput, StoreRejected, VersionConflict
from contracts.history import SessionFilter
from contracts.ids import ConversationId, InputId, SessionId
from contracts.session import SessionState, SessionStatus
from storage.port import MAX_PAGE, Store
from tests.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_key,
    a_moment,
    a_parked,
    an_address,
    appended,
    data_set,
    deleted,
    edited,
    reacted,
)

ODD_VALUES: dict[str, JsonValue] = {
    "a.b": {"$set": 1, "$ref": "other", "$id": 7, "": None},
    "$where": ["'\"\\", {"%2E": "%24"}, [], {}],
    "int64": [2**63 - 1, -(2**63), 2**31, 0],
    "float": [0.1, -1e300, 1.0],
    "text": "😀 é \u0000 \u2028 'quoted' \"twice\"",
    "true": True,
}


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

    # The log

    async def test_unknown_conversation_is_empty(self, store: Store) -> None:
        unknown = a_conversation()

        loaded = await store.log.load([unknown])

        assert loaded[unknown].head is None
        assert loaded[unknown].commits == ()
        assert await store.log.load([]) == {}
        assert await store.log.read(unknown, limit=10) == []
        assert await store.log.append([]) == []

    async def test_appended_commits_are_loaded(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        commits = [a_commit(one, events=[appended(one, 1, "m")], epoch=7), a_commit(two)]

        assert await store.log.append(commits) == [None, None]

        loaded = await store.log.load([one, two])
        assert loaded[one].commits == (commits[0],)
        assert loaded[two].commits == (commits[1],)

    async def test_version_is_written_once(self, store: Store) -> None:
        one = a_conversation()
        first = a_commit(one, inputs=["a"])
        await store.log.append([first])

        [outcome] = await store.log.append([a_commit(one, inputs=["b"])])

        assert isinstance(outcome, VersionConflict)
        assert await store.log.read(one, limit=10) == [first]

    async def test_repeated_append_is_a_version_conflict(self, store: Store) -> None:
        commit = a_commit(a_conversation())
        await store.log.append([commit])

        [outcome] = await store.log.append([commit])

        assert isinstance(outcome, VersionConflict)

    async def test_input_is_committed_once_in_a_conversation(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        await store.log.append([a_commit(one, 1, inputs=["a", "b"])])
        await store.log.append([a_commit(one, 2, inputs=["c"])])

        [outcome] = await store.log.append([a_commit(one, 3, inputs=["d", "b"])])

        assert isinstance(outcome, DuplicateInput)
        assert await store.log.append([a_commit(one, 3, inputs=["d"])]) == [None]
        assert await store.log.append([a_commit(two, 1, inputs=["a", "b"])]) == [None]

    async def test_commits_without_inputs_never_collide(self, store: Store) -> None:
        one = a_conversation()

        assert await store.log.append([a_commit(one, 1, inputs=[])]) == [None]
        assert await store.log.append([a_commit(one, 2, inputs=[])]) == [None]

        assert await store.log.read(one, limit=10) == [a_commit(one, 1, inputs=[]), a_commit(one, 2, inputs=[])]

    async def test_failed_commits_leave_their_batch_alone(self, store: Store) -> None:
        taken, repeated, *fresh = (a_conversation() for _ in range(6))
        await store.log.append([a_commit(taken, 1), a_commit(repeated, 1, inputs=["x"])])

        outcome = await store.log.append(
            [
                a_commit(fresh[0]),
                a_commit(taken, 1, inputs=["other"], events=[deleted(taken, 1, "m")]),
                a_commit(fresh[1]),
                a_commit(repeated, 2, inputs=["y", "x"], events=[deleted(repeated, 1, "m")]),
                a_commit(fresh[2]),
                a_commit(fresh[3]),
            ]
        )

        kinds = [type(error) for error in outcome]
        nothing = type(None)
        assert kinds == [nothing, VersionConflict, nothing, DuplicateInput, nothing, nothing]
        loaded = await store.log.load([taken, repeated, *fresh])
        assert [len(loaded[key].commits) for key in (taken, repeated, *fresh)] == [1] * 6
        # Nothing of a refused commit is left behind: its other inputs and its amendments are not known.
        assert await store.log.commits_of_inputs(taken, [InputId("other")]) == {}
        assert await store.log.commits_of_inputs(repeated, [InputId("y")]) == {}
        assert await store.log.commits_amending(taken, [a_key("m")]) == []
        assert await store.log.append([a_commit(repeated, 2, inputs=["y"])]) == [None]

    async def test_one_of_many_racing_writers_wins(self, store: Store) -> None:
        one = a_conversation()

        outcomes = await asyncio.gather(*(store.log.append([a_commit(one, 1, inputs=[f"w{n}"])]) for n in range(20)))

        results = [outcome for [outcome] in outcomes]
        assert results.count(None) == 1
        assert sum(isinstance(error, VersionConflict) for error in results) == 19
        [kept] = await store.log.read(one, limit=10)
        assert kept.inputs == (f"w{results.index(None)}",)

    async def test_one_of_many_racing_commits_of_an_input_wins(self, store: Store) -> None:
        one = a_conversation()

        outcomes = await asyncio.gather(*(store.log.append([a_commit(one, n, inputs=["same"])]) for n in range(1, 21)))

        results = [outcome for [outcome] in outcomes]
        assert results.count(None) == 1
        assert sum(isinstance(error, DuplicateInput) for error in results) == 19

    async def test_racing_writers_keep_every_commit(self, store: Store) -> None:
        one = a_conversation()

        async def writer(name: int) -> None:
            for number in range(5):
                version = 1
                while (await store.log.append([a_commit(one, version, inputs=[f"{name}-{number}"])]))[0]:
                    version += 1

        await asyncio.gather(*(writer(name) for name in range(4)))

        log = await store.log.read(one, limit=100)
        assert [commit.version for commit in log] == list(range(1, 21))
        assert len({name for commit in log for name in commit.inputs}) == 20

    async def test_load_gives_latest_head_and_commits_after_it(self, store: Store) -> None:
        one, two = a_conversation(), a_conversation()
        commits = [a_commit(one, version) for version in range(1, 13)]
        for commit in commits:
            await store.log.append([commit])
        latest = a_head(one, generation=10, version=10)
        await store.heads.save([a_head(one, generation=9, version=10), latest, a_head(one, generation=2, version=2)])
        await store.heads.save([a_head(two, version=3)])

        loaded = await store.log.load([one, two])

        assert loaded[one].head == latest
        assert loaded[one].commits == tuple(commits[10:])
        assert loaded[two].head == a_head(two, version=3)
        assert loaded[two].commits == ()

    async def test_load_takes_many_conversations(self, store: Store) -> None:
        conversations = [a_conversation() for _ in range(450)]
        await store.log.append([a_commit(key) for key in conversations])
        await store.heads.save([a_head(key, version=1) for key in conversations[::2]])

        loaded = await store.log.load(conversations)

        assert set(loaded) == set(conversations)
        assert [len(loaded[key].commits) for key in conversations] == [0, 1] * 225

    async def test_read_log_gives_ranges_in_both_directions(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        for version in range(1, 13):
            await store.log.append([a_commit(one, version), a_commit(other, version)])

        async def versions(
            first: int = 1, last: int | None = None, limit: int = 100, newest: bool = False
        ) -> list[int]:
            log = await store.log.read(one, first=first, last=last, limit=limit, newest=newest)
            assert {commit.conversation_id for commit in log} <= {one}
            return [commit.version for commit in log]

        assert await versions() == list(range(1, 13))
        assert await versions(first=9, last=11) == [9, 10, 11]
        assert await versions(limit=3) == [1, 2, 3]
        assert await versions(limit=3, newest=True) == [12, 11, 10]
        assert await versions(first=2, last=5, limit=2, newest=True) == [5, 4]
        assert await versions(first=13) == []

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_limits_are_checked(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.log.read(a_conversation(), limit=limit)
        with pytest.raises(ValueError, match="limit"):
            await store.heads.page(SessionFilter(), limit=limit)
        with pytest.raises(ValueError, match="limit"):
            await store.parked.page(limit=limit)

    async def test_commits_are_found_by_their_inputs(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        first, second = a_commit(one, 1, inputs=["a", "b"]), a_commit(one, 2, inputs=["c"])
        await store.log.append([first])
        await store.log.append([second, a_commit(other, 1, inputs=["z"])])

        found = await store.log.commits_of_inputs(one, [InputId(name) for name in "abcz"])

        assert dict(found) == {"a": first, "b": first, "c": second}
        assert dict(await store.log.commits_of_inputs(one, [])) == {}

    async def test_commits_are_found_by_what_they_amend(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        commits = [
            a_commit(one, 1, events=[appended(one, 1, "m")]),
            a_commit(one, 2, events=[edited(one, 2, "m", "new"), reacted(one, 3, "n", "👍")]),
            a_commit(one, 3, events=[reacted(one, 4, "n", "👍"), reacted(one, 5, "n", "👎")]),
            a_commit(one, 10, events=[deleted(one, 6, "m")]),
        ]
        for commit in commits:
            await store.log.append([commit])
        await store.log.append([a_commit(other, 1, events=[deleted(other, 1, "m")])])

        assert await store.log.commits_amending(one, [a_key("m")]) == [commits[1], commits[3]]
        assert await store.log.commits_amending(one, [a_key("n"), a_key("m")]) == commits[1:]
        assert await store.log.commits_amending(one, [a_key("unknown")]) == []
        assert await store.log.commits_amending(one, []) == []

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

    async def test_all_conversations_are_listed_once_by_id(self, store: Store) -> None:
        logged, headed, both = ([a_conversation() for _ in range(3)] for _ in range(3))
        await store.log.append([a_commit(one) for one in (*logged, *both)])
        await store.log.append([a_commit(one, 2) for one in both])
        await store.heads.save([a_head(one, generation=number) for one in (*headed, *both) for number in (1, 2)])
        everything = sorted([*logged, *headed, *both])

        assert await store.log.conversations(limit=100) == everything
        pages: list[ConversationId] = []
        while page := await store.log.conversations(after=pages[-1] if pages else None, limit=2):
            assert len(page) <= 2
            pages += page
        assert pages == everything
        for limit in (0, MAX_PAGE + 1):
            with pytest.raises(ValueError, match="limit is"):
                await store.log.conversations(limit=limit)

    # The heads

    async def test_head_never_goes_back(self, store: Store) -> None:
        one = a_conversation()
        await store.heads.save([a_head(one, version=5)])

        await store.heads.save([a_head(one, version=4, data={"old": True})])
        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=5)

        await store.heads.save([a_head(one, version=5, data={"same": True})])
        await store.heads.save([a_head(one, version=7), a_head(one, version=6)])
        assert await store.heads.get(a_head(one).session_id) == a_head(one, version=7)

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

    async def test_two_open_stores_see_each_other(self, store: Store, reopened: Store) -> None:
        one = a_conversation()

        async def writer(mine: Store, name: str) -> None:
            for number in range(10):
                version = 1
                while (await mine.log.append([a_commit(one, version, inputs=[f"{name}{number}"])]))[0]:
                    version += 1

        await asyncio.gather(writer(store, "a"), writer(reopened, "b"))

        assert len(await store.log.read(one, limit=100)) == 20
        assert await store.log.read(one, limit=100) == await reopened.log.read(one, limit=100)

    async def test_closed_store_says_so(self, store: Store) -> None:
        await store.close()

        with pytest.raises(StoreRejected, match="not open"):
            await store.log.load([a_conversation()])
