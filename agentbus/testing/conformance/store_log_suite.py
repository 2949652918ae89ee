"""The store contract of the log."""

import asyncio

import pytest

from agentbus.contracts.base import MAX_INTEGER
from agentbus.contracts.errors import DuplicateInput, StoreRejected, VersionConflict
from agentbus.contracts.events import CloseReason, Commit, SessionClosed
from agentbus.contracts.ids import ConversationId, InputId, session_id_for
from agentbus.contracts.session import SessionState
from agentbus.storage.port import MAX_PAGE, Loaded, Store
from agentbus.testing.builders import (
    NOON,
    a_commit,
    a_conversation,
    a_head,
    a_key,
    appended,
    begun,
    data_set,
    deleted,
    edited,
    reacted,
)
from agentbus.workers.domain.evolve import heads_after, heads_along, replay


async def found_by(store: Store, conversation: ConversationId, *names: str) -> dict[str, int]:
    """Return the version of the commit that each of these inputs is found in."""
    commits = await store.log.commits_of_inputs(conversation, [InputId(name) for name in names])
    return {name: commit.version for name, commit in commits.items()}


async def a_log(store: Store, conversation: ConversationId) -> list[Commit]:
    """Keep three commits: a message, an edit of it, and another message."""
    commits = [
        a_commit(conversation, 1, inputs=["a", "b"], events=[appended(conversation, 1, "m")]),
        a_commit(conversation, 2, inputs=["c"], events=[edited(conversation, 2, "m", "new")]),
        a_commit(conversation, 3, inputs=["d"], events=[appended(conversation, 3, "n")]),
    ]
    for commit in commits:
        assert await store.log.append([commit]) == [None]
    return commits


class StoreLogSuite:
    """What every log must do. Subclasses define the fixture `store`."""

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

    async def test_commits_are_kept_with_their_heads_or_the_heads_are_left(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        commits = [a_commit(one, 1, events=[begun(one)]), a_commit(other, 1, events=[begun(other)])]
        heads = [a_head(one, version=1), a_head(other, version=1)]

        assert await store.log.commit([], []) == ([], None)
        outcomes, saved = await store.log.commit(commits, heads)

        assert outcomes == [None, None]
        assert saved in (None, [None, None])
        for head in heads:
            assert await store.heads.get(head.session_id) == (head if saved else None)
            found = (await store.log.load([head.conversation_id]))[head.conversation_id]
            assert found.head == (head if saved else None)
            assert len(found.commits) == (0 if saved else 1)

    async def test_where_a_commit_is_refused_the_others_are_kept_and_no_head_is(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        assert await store.log.append([a_commit(other, 1, inputs=["first"])]) == [None]
        commits = [a_commit(one, 1, inputs=["a"]), a_commit(other, 1, inputs=["b"])]
        heads = [a_head(one, version=1), a_head(other, version=1)]

        outcomes, saved = await store.log.commit(commits, heads)

        assert saved is None
        assert outcomes[0] is None
        assert isinstance(outcomes[1], VersionConflict)
        assert await found_by(store, one, "a") == {"a": 1}
        assert await found_by(store, other, "first", "b") == {"first": 1}
        assert await store.heads.get_many([head.session_id for head in heads]) == {}

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

    async def test_a_session_whose_head_is_not_written_yet_follows_from_the_commit_that_began_it(
        self, store: Store
    ) -> None:
        conversation = a_conversation()
        first = a_commit(conversation, events=[begun(conversation), appended(conversation, 2, "m")])
        one = session_id_for(conversation, 1)
        ends = SessionClosed(session_id=one, sequence=3, at=NOON, cause=InputId("input-2"), why=CloseReason.SUPERSEDED)
        second = a_commit(conversation, 2, events=[ends, begun(conversation, generation=2)])
        third = a_commit(conversation, 3, events=[appended(conversation, 2, "n", generation=2)])
        await store.log.append([first, second, third])
        before = replay(SessionState.empty(conversation), [first])
        ended, current = heads_after(before, second)
        await store.heads.save([before])
        await store.heads.save([ended])  # and here its writer dies, or a reader comes

        found = (await store.log.load([conversation]))[conversation]

        assert found.head is not None
        assert found.head.session_id == ended.session_id
        states = list(heads_along(found.head, found.commits))
        assert states[0] == current
        assert states[-1] == replay(current, [third])
        await store.heads.save(states)
        assert (await store.log.load([conversation]))[conversation] == Loaded(states[-1])
        assert await store.heads.get(ended.session_id) == ended

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

    async def test_stamps_tell_each_state_from_those_before(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        await store.log.append([a_commit(other)])
        await store.heads.save([a_head(other, version=1)])
        of_other = await store.log.stamps([other])
        seen: set[str] = set()

        async def is_news() -> None:
            told = await store.log.stamps([one, other, a_conversation()])
            assert told.keys() <= {one, other}
            assert {key: stamp for key, stamp in told.items() if key == other} == of_other
            now = {(await store.log.load([one]))[one].stamp, told.get(one, "")} - {""}
            assert seen.isdisjoint(now)
            seen.update(now)

        for version in (1, 2, 3):
            await store.log.append([a_commit(one, version)])
            await is_news()
            await store.heads.save([a_head(one, version=version)])
            await is_news()
        await store.heads.save([a_head(one, version=3, data={"plan": "gold"})])
        await is_news()
        await store.log.append([a_commit(one, 4)])
        await store.heads.save([a_head(one, generation=2, version=4)])
        await is_news()
        assert await store.log.stamps([]) == {}

    async def test_load_takes_many_conversations(self, store: Store) -> None:
        conversations = [a_conversation() for _ in range(450)]
        await store.log.append([a_commit(key) for key in conversations])
        await store.heads.save([a_head(key, version=1) for key in conversations[::2]])

        loaded = await store.log.load(conversations)

        assert set(loaded) == set(conversations)
        assert [len(loaded[key].commits) for key in conversations] == [0, 1] * 225

    async def test_many_logs_are_read_at_once(self, store: Store) -> None:
        one, two, short, unknown = (a_conversation() for _ in range(4))
        kept = {one: await a_log(store, one), two: await a_log(store, two), short: [a_commit(short)]}
        await store.log.append(kept[short])

        found = await store.log.read_many({two: (2, 3), one: (1, 2), short: (1, 1), unknown: (1, 9)})

        assert found == {two: kept[two][1:], one: kept[one][:2], short: kept[short], unknown: []}
        assert await store.log.read_many({short: (2, 2), one: (3, 7)}) == {short: [], one: kept[one][2:]}
        assert await store.log.read_many({}) == {}

    @pytest.mark.parametrize("span", [(2, 1), (1, MAX_PAGE + 1)])
    async def test_what_is_read_of_each_log_at_once_is_checked(self, store: Store, span: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.log.read_many({a_conversation(): (1, 1), a_conversation(): span})

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
        assert await versions(last=MAX_INTEGER) == await versions(first=1, last=2**31) == list(range(1, 13))
        assert await versions(first=MAX_INTEGER) == []
        assert await versions(limit=3) == [1, 2, 3]
        assert await versions(limit=3, newest=True) == [12, 11, 10]
        assert await versions(first=2, last=5, limit=2, newest=True) == [5, 4]
        assert await versions(first=13) == []

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

    # Replacing, for archiving and erasing

    async def test_commits_are_replaced_where_they_are(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        commits, untouched = await a_log(store, one), await a_log(store, other)
        bare = [commit.model_copy(update={"events": (), "epoch": 7}) for commit in commits[:2]]

        await store.log.replace(bare)

        assert await store.log.read(one, limit=10) == [*bare, commits[2]]
        assert (await store.log.load([one]))[one].commits == (*bare, commits[2])
        assert await store.log.read(other, limit=10) == untouched
        # Their inputs are repeats all the same.
        assert await found_by(store, one, *"abcd") == {"a": 1, "b": 1, "c": 2, "d": 3}
        [outcome] = await store.log.append([a_commit(one, 4, inputs=["b"])])
        assert isinstance(outcome, DuplicateInput)
        assert await store.log.append([a_commit(one, 4, inputs=["e"])]) == [None]

    async def test_inputs_replaced_are_found_under_the_new_ones_alone(self, store: Store) -> None:
        one, other = a_conversation(), a_conversation()
        commits, _ = await a_log(store, one), await a_log(store, other)
        replaced = commits[0].model_copy(update={"inputs": (InputId("x"), InputId("b")), "events": ()})

        await store.log.replace([replaced])

        assert await found_by(store, one, *"abcdx") == {"b": 1, "c": 2, "d": 3, "x": 1}
        assert await found_by(store, other, *"abcdx") == {"a": 1, "b": 1, "c": 2, "d": 3}
        assert await store.log.append([a_commit(one, 4, inputs=["a"])]) == [None]
        [outcome] = await store.log.append([a_commit(one, 5, inputs=["x"])])
        assert isinstance(outcome, DuplicateInput)

    async def test_commit_may_be_left_without_inputs(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        bare = [commit.model_copy(update={"inputs": (), "events": ()}) for commit in commits]

        await store.log.replace(bare)

        assert await store.log.read(one, limit=10) == bare
        assert await found_by(store, one, *"abcd") == {}

    async def test_what_is_amended_follows_the_new_commits(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        both = commits[1].model_copy(update={"events": (deleted(one, 2, "n"), edited(one, 3, "o", "new"))})
        amending = commits[2].model_copy(update={"events": (deleted(one, 3, "m"),)})

        await store.log.replace([both])
        assert await store.log.commits_amending(one, [a_key("m")]) == []
        assert await store.log.commits_amending(one, [a_key("n"), a_key("o")]) == [both]

        await store.log.replace([amending, both.model_copy(update={"events": ()})])
        assert await store.log.commits_amending(one, [a_key("m")]) == [amending]
        assert await store.log.commits_amending(one, [a_key("n"), a_key("o")]) == []

    async def test_nothing_is_added_to_a_log(self, store: Store) -> None:
        one, unknown = a_conversation(), a_conversation()
        commits = await a_log(store, one)
        events = [deleted(one, 1, "x")]

        await store.log.replace([a_commit(one, 4, inputs=["x"], events=events), a_commit(unknown, 1, inputs=["x"])])
        await store.log.replace([])

        assert await store.log.read(one, limit=10) == commits
        assert await store.log.read(unknown, limit=10) == []
        assert await found_by(store, one, "x") == {}
        assert await found_by(store, unknown, "x") == {}
        assert await store.log.commits_amending(one, [a_key("x")]) == []
        assert await store.log.append([a_commit(one, 4, inputs=["x"]), a_commit(unknown, 1, inputs=["x"])]) == [
            None,
            None,
        ]

    async def test_replacing_again_changes_nothing_more(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        erased = [commit.model_copy(update={"inputs": (InputId(f"#{commit.version}"),)}) for commit in commits]

        for _ in range(2):
            await store.log.replace(erased)

        assert await store.log.read(one, limit=10) == erased
        assert await found_by(store, one, *"abcd", "#1", "#2", "#3") == {"#1": 1, "#2": 2, "#3": 3}
        assert await store.log.commits_amending(one, [a_key("m")]) == [erased[1]]

    async def test_what_was_taken_out_is_put_back(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        await store.log.replace([commit.model_copy(update={"events": ()}) for commit in commits])

        await store.log.replace(commits)

        assert await store.log.read(one, limit=10) == commits
        assert await store.log.commits_amending(one, [a_key("m")]) == [commits[1]]
        assert await found_by(store, one, *"abcd") == {"a": 1, "b": 1, "c": 2, "d": 3}

    async def test_inputs_of_other_commits_are_refused(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)

        with pytest.raises(StoreRejected, match=r"another commit of .* holds an input of"):
            await store.log.replace([commits[0].model_copy(update={"inputs": (InputId("c"), InputId("new"))})])

        assert await store.log.read(one, limit=10) == commits
        assert await found_by(store, one, *"abcd", "new") == {"a": 1, "b": 1, "c": 2, "d": 3}

    async def test_many_commits_are_replaced_at_once(self, store: Store) -> None:
        conversations = [a_conversation() for _ in range(150)]
        logs = [[a_commit(key, 1, inputs=["a"]), a_commit(key, 2, inputs=["b"])] for key in conversations]
        for version in range(2):
            assert await store.log.append([log[version] for log in logs]) == [None] * 150
        replaced = [commit.model_copy(update={"epoch": 9}) for log in logs for commit in log]

        await store.log.replace(replaced)

        loaded = await store.log.load(conversations)
        assert [commit for key in conversations for commit in loaded[key].commits] == replaced

    async def test_odd_values_are_put_back_unchanged(self, store: Store) -> None:
        one = a_conversation()
        odd_id = "😀$.'\"\\" + "x" * 249
        await store.log.append([a_commit(one)])
        odd = a_commit(one, inputs=[odd_id], events=[data_set(one, 1, {"a.b": {"$set": 2**63 - 1, "%2E": "\u0000"}})])

        await store.log.replace([odd])

        assert await store.log.read(one, limit=1) == [odd]
        assert await store.log.commits_of_inputs(one, [InputId(odd_id)]) == {odd_id: odd}

    async def test_head_stays_as_it_is(self, store: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        head = a_head(one, version=2)
        await store.heads.save([head])

        await store.log.replace([commit.model_copy(update={"events": ()}) for commit in commits])

        loaded = (await store.log.load([one]))[one]
        assert (loaded.head, [commit.version for commit in loaded.commits]) == (head, [3])


class DurableStoreLogSuite(StoreLogSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

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

    async def test_replaced_commits_are_found_again(self, store: Store, reopened: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        erased = [commit.model_copy(update={"inputs": (InputId(f"#{commit.version}"),)}) for commit in commits]
        await store.log.replace(erased)
        await store.close()

        assert await reopened.log.read(one, limit=10) == erased
        assert await found_by(reopened, one, *"abcd", "#1", "#3") == {"#1": 1, "#3": 3}

    async def test_a_head_that_came_with_a_commit_is_the_one_that_is_read(self, store: Store, reopened: Store) -> None:
        conversation = a_conversation()
        for version in range(1, 7):
            writer, reader = (store, reopened) if version % 3 else (reopened, store)
            head = a_head(conversation, version=version, data={"number": version})
            _, saved = await writer.log.commit([a_commit(conversation, version)], [head])
            if saved is None:
                assert await writer.heads.save([head]) == [None]
            assert await writer.heads.get(head.session_id) == head
            assert await reader.heads.get(head.session_id) == head
        assert await store.heads.save([a_head(conversation, version=2)]) == [None]
        assert await store.heads.get(head.session_id) == head
