"""The store contract of replacing commits, for archiving and erasing."""

import pytest

from contracts.errors import DuplicateInput, StoreRejected
from contracts.events import Commit
from contracts.ids import ConversationId, InputId
from storage.port import Store
from tests.builders import a_commit, a_conversation, a_head, a_key, appended, data_set, deleted, edited


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


class StoreReplacingSuite:
    """What every store must do when commits are replaced. Subclasses define the fixture `store`."""

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


class DurableStoreReplacingSuite(StoreReplacingSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_replaced_commits_are_found_again(self, store: Store, reopened: Store) -> None:
        one = a_conversation()
        commits = await a_log(store, one)
        erased = [commit.model_copy(update={"inputs": (InputId(f"#{commit.version}"),)}) for commit in commits]
        await store.log.replace(erased)
        await store.close()

        assert await reopened.log.read(one, limit=10) == erased
        assert await found_by(reopened, one, *"abcd", "#1", "#3") == {"#1": 1, "#3": 3}
