"""Erasing a user from everywhere, for good, whatever crashes and whatever comes back."""

import copy
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest

from agentbus.contracts.commands import CloseSession, ResetSession, SetMetadata
from agentbus.contracts.errors import LockTimeout, Refused, StoreUnavailable, UserErased
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import conversation_of
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.factory import open_store
from agentbus.storage.history import iter_history
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.workers.archive import moving, rewriting
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.erasure.users import erase_user, find_user, reapply_erasures
from agentbus.workers.tracking.kept import usage_of
from tests.harness.clock import later
from tests.harness.erasures import (
    ADA,
    ADA_SLACK,
    BOB,
    CAROL,
    PERSON,
    TRACES,
    WORD,
    Town,
    documents_in,
    everything_in,
    everything_in_database,
    live_in,
    said,
    town,
)
from tests.harness.sampling import sampled


class Place:
    """A store and an archive, and all the bytes in them."""

    def __init__(self, kind: str, folder: Path, url: str = "") -> None:
        self.kind = kind
        self.folder = folder
        self.url = url
        (folder / "store").mkdir()
        self.store = self.open()
        self.archive_url = f"file://{folder}/archive"

    def open(self) -> Store:
        match self.kind:
            case "memory":
                return MemoryStore()
            case "sqlite":
                return open_store(f"sqlite:///{self.folder}/store/sessions.db")
            case "mongodb":
                return open_store(self.url)
            case _:
                return open_store(f"file://{self.folder}/store")

    def found(self) -> list[str]:
        """Return what of Ada is found in store or archive."""
        held = everything_in(self.folder / "store") + everything_in(self.folder / "archive")
        if isinstance(self.store, MemoryStore):
            held += held_in(self.store).encode()
        if self.url:
            held += everything_in_database(self.url)
        return [trace for trace in TRACES if trace.encode() in held]


def held_in(store: Store) -> str:
    """Return all that the sections of a memory store hold."""
    return repr([vars(getattr(store, name)) for name in Store.__annotations__])


@pytest.fixture(params=[pytest.param(one, marks=sampled("place")) for one in ("memory", "sqlite", "file", "mongodb")])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = request.getfixturevalue("mongo_url") if request.param == "mongodb" else ""
    return Place(request.param, tmp_path, url)


@pytest.fixture
def memory(tmp_path: Path) -> Place:
    return Place("memory", tmp_path)


async def texts(it: Town, name: str) -> list[str]:
    head = await it.store.heads.get(it.sessions[name])
    assert head is not None
    contents = [item.message.content async for item in iter_history(it.store, head)]
    return [content.text for content in contents if isinstance(content, TextContent)]


@pytest.mark.parametrize("again", [False, True], ids=["restored", "archived again"])
async def test_what_a_restored_session_got_back_goes_too(place: Place, *, again: bool) -> None:
    """What the user set in a shared session stands in the event that brought it back, too."""
    async with town(place.store, place.archive_url) as it:
        await live_in(it)
        commands, session = it.erasing.commands, it.sessions["attic"]
        head = await restore_session(it.store, it.archive, commands, session, clock=it.erasing.clock)
        assert head.metadata == {"about": f"the {WORD}", "rule": "be kind"}
        about = SetMetadata(session_id=session, actor=BOB, values={"about": "this and that"})
        await it.client.send(about)  # what the event says is older
        if again:
            await it.client.send(CloseSession(session_id=session))
            head = await it.store.heads.get(session) or head
            await it.client.send(ResetSession(session_id=session))
            await archive_session(it.store, it.archive, commands, head)
            head = await restore_session(it.store, it.archive, commands, session, clock=it.erasing.clock)
            await archive_session(it.store, it.archive, commands, head)
        await erase_user(it.erasing, ADA)
        assert place.found() == []
        if again:
            head = await restore_session(it.store, it.archive, commands, session, clock=it.erasing.clock)
        kept = await it.store.heads.get(session)
        assert kept is not None
        assert kept.metadata == {"about": "this and that", "rule": "be kind"}


@pytest.mark.parametrize("length", ["short", "long"])
@pytest.mark.parametrize("name", ["ada", "lobby"])
async def test_an_upload_that_ends_after_an_erasure_leaves_nothing_of_the_user(
    place: Place, name: str, length: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The session was read before, and its file is written afterwards: in a shared one too, which stays.

    The log of a short one is nobody else's until then, for as long as the lease of that lasts.
    """
    patched = pytest.MonkeyPatch()
    request.addfinalizer(patched.undo)
    patched.setattr(rewriting, "_LEASE", 0.2)
    if length == "long":
        patched.setattr(moving, "PAGE", 0)
    async with town(place.store, place.archive_url) as it:
        await live_in(it)
        await it.client.send(CloseSession(session_id=it.sessions[name]))
        head = await it.store.heads.get(it.sessions[name])
        assert head is not None
        write = it.archive.write

        async def late(session: SessionState, commits: AsyncIterator[Commit]) -> ArchiveRef:
            monkeypatch.undo()  # an erasure writes files too
            read = [commit async for commit in commits]
            await erase_user(it.erasing, ADA)

            async def again() -> AsyncIterator[Commit]:
                for commit in read:
                    yield commit

            return await write(session, again())

        monkeypatch.setattr(it.archive, "write", late)
        with pytest.raises(LockTimeout if length == "short" else Refused):
            await archive_session(it.store, it.archive, it.erasing.commands, head)
        assert place.found() == []
        assert await it.archive.entries_of(head.session_id) == []
        if name == "lobby":
            await archive_session(it.store, it.archive, it.erasing.commands, head)
            await restore_session(it.store, it.archive, it.erasing.commands, head.session_id, clock=it.erasing.clock)
            assert "welcome to the lobby" in await texts(it, name)
            assert place.found() == []


async def test_nothing_of_the_user_is_found_in_any_byte(place: Place) -> None:
    async with town(place.store, place.archive_url) as it:
        await live_in(it)
        assert set(place.found()) == set(TRACES)
        plan = await find_user(it.erasing, ADA)
        assert set(place.found()) == set(TRACES), "a look changes nothing"
        receipt = await erase_user(it.erasing, ADA)
        assert place.found() == []
    assert place.found() == [], "nor when all is closed"
    assert (plan.people, plan.identities) == ({ADA, ADA_SLACK}, {PERSON})
    expected = {it.sessions[name] for name in ("ada", "ada archived", "ada on slack", "lobby", "attic")}
    assert set(receipt.sessions) == plan.sessions == expected
    assert (receipt.messages, receipt.archives, receipt.records, receipt.parked) == (
        plan.messages,
        plan.archives,
        plan.records,
        plan.parked,
    )
    assert (receipt.archives, receipt.parked) == (2, 3)
    assert receipt.messages == 5 + 3 + 3, "hers and the answers to her, alone, and in each of two groups"


async def test_others_keep_what_they_wrote_and_the_place_of_what_they_read(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        bob = await it.store.heads.get(it.sessions["bob"])
        bobs_log = [commit async for commit in iter_log(it.store, conversation_of(it.sessions["bob"]))]
        await erase_user(it.erasing, ADA)
        assert await texts(it, "lobby") == ["welcome to the lobby", "", "", "how much?", ""]
        lobby = await it.store.heads.get(it.sessions["lobby"])
        assert lobby is not None
        assert lobby.status is SessionStatus.ACTIVE
        pseudonym = str(lobby.data["seller"])
        assert pseudonym.startswith("erased-")
        assert lobby.data == {"seller": pseudonym, "prices": {pseudonym: 3}}
        assert lobby.metadata == {"rule": "be kind"}, "what she set is gone, what Bob set after her is not"
        assert await it.store.heads.get(it.sessions["bob"]) == bob
        assert [commit async for commit in iter_log(it.store, conversation_of(it.sessions["bob"]))] == bobs_log
        checkpoint = await it.store.records.get(RecordKind.CHECKPOINT, "c2")
        assert checkpoint is not None
        assert checkpoint.data == {"seller": pseudonym, "kept": 1, "metadata": {"rule": "be kind"}}
        assert await it.store.records.get(RecordKind.CHECKPOINT, "c3") is not None
        told = await it.store.records.get(RecordKind.TRACKED_EVENT, "t2")
        assert told is not None
        assert told.data == {"kind": "feedback", "actor": pseudonym, "data": {}}
        for name, used in (("bob", 1), ("lobby", 4)):
            usage = await usage_of(it.store, it.sessions[name])
            assert usage is not None
            assert (usage.owner, usage.counts["message.user"]) == (BOB, used)
        assert await usage_of(it.store, it.sessions["ada"]) is None, "the ledger outlives sessions, not erasure"
        assert await it.store.records.get(RecordKind.COMPONENTS, it.sessions["lobby"]) is None, "it may hold her words"
        assert [parked.body async for parked in iter_parked(it.store)] == [b'{"user": "bob-0815"}']


async def test_the_group_goes_on_and_its_archive_can_be_restored(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        await erase_user(it.erasing, ADA)
        await it.publish(it.groups, said("lobby7", BOB, "still here", chat="lobby"))
        await it.settled(conversation_of(it.sessions["lobby"]))
        assert (await texts(it, "lobby"))[-1] == "still here"
        attic = it.sessions["attic"]
        restored = await restore_session(
            it.store, it.archive, it.erasing.commands, attic, clock=it.erasing.clock, status=SessionStatus.EXPIRED
        )
        assert restored.profile.owner == BOB
        assert await texts(it, "attic") == ["welcome to the attic", "", "", "how much?", ""]
        assert memory.found() == []


async def test_old_messages_delivered_again_bring_nothing_back(place: Place) -> None:
    async with town(place.store, place.archive_url) as it:
        await live_in(it)
        await erase_user(it.erasing, ADA)
        before = await texts(it, "lobby")
        await it.redeliver()
        await it.publish(it.groups, said("lobby8", BOB, "anybody?", chat="lobby"))
        for name in ("lobby", "bob"):
            await it.settled(conversation_of(it.sessions[name]))
        assert await texts(it, "lobby") == [*before, "anybody?"]
        for name in ("ada", "ada on slack", "attic"):
            log = [commit async for commit in iter_log(it.store, conversation_of(it.sessions[name]))]
            assert not [event for commit in log for event in commit.events if isinstance(event, MessageAppended)]
    assert place.found() == []


async def test_a_new_message_begins_a_new_session_and_erasing_again_takes_that_too(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        first = await erase_user(it.erasing, ADA)
        conversation = await it.publish(it.client, said("a9", ADA, f"a new {WORD}"))
        head = await it.settled(conversation)
        assert (head.status, head.generation, head.message_count) == (SessionStatus.ACTIVE, 3, 1)
        second = await erase_user(it.erasing, ADA)
        assert memory.found() == []
        assert second.subject == first.subject
        assert second.sessions == (head.session_id,)


async def test_erasing_somebody_who_is_not_there_changes_nothing(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        before = copy.deepcopy((memory.store.log._log, memory.store.heads._heads))  # type: ignore[attr-defined]  # a memory store's
        receipt = await erase_user(it.erasing, "nobody")
        assert (receipt.sessions, receipt.messages, receipt.records) == ((), 0, 0)
        assert (memory.store.log._log, memory.store.heads._heads) == before  # type: ignore[attr-defined]  # the same


async def test_a_person_who_began_the_group_does_not_take_it_away_from_others(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        await erase_user(it.erasing, BOB)
        lobby = await texts(it, "lobby")
        assert lobby[0] == ""
        assert lobby[3] == "how much?"
        head = await it.store.heads.get(it.sessions["lobby"])
        assert head is not None
        assert (head.status, head.data) == (SessionStatus.ACTIVE, {})
        assert str(head.profile.owner).startswith("erased-")
        assert BOB not in held_in(memory.store)
        assert CAROL in held_in(memory.store)


def restored_backup(place: Place, kept: Any) -> Store:
    """Return the store as an old backup has it."""
    if place.kind == "memory":
        old = MemoryStore()
        vars(old).update(kept)
        place.store = old
        return old
    if place.url:
        put_documents(place.url, kept)
        place.store = place.open()
        return place.store
    shutil.rmtree(place.folder / "store")
    shutil.copytree(place.folder / "backup", place.folder / "store", symlinks=True)
    place.store = place.open()
    return place.store


def put_documents(url: str, kept: dict[str, list[dict[str, Any]]]) -> None:
    """Put a dump of a MongoDB database in the place of what is there."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for name in database.list_collection_names():
            database[name].delete_many({})
        for name, documents in kept.items():
            if documents:
                database[name].insert_many(documents)


def backup(place: Place) -> Any:
    if isinstance(place.store, MemoryStore):
        return copy.deepcopy({name: getattr(place.store, name) for name in Store.__annotations__})
    if place.url:
        return documents_in(place.url)
    shutil.copytree(place.folder / "store", place.folder / "backup", symlinks=True)
    return None


async def test_an_old_backup_of_the_store_is_erased_again(place: Place) -> None:
    async with town(place.store, place.archive_url) as it:
        await live_in(it)
    kept = backup(place)
    async with town(place.open() if place.kind != "memory" else place.store, place.archive_url) as it:
        receipt = await erase_user(it.erasing, ADA)
    assert place.found() == []
    async with town(restored_backup(place, kept), place.archive_url) as it:
        assert set(place.found()) >= {ADA, WORD}
        again = await reapply_erasures(it.erasing)
        assert place.found() == []
        assert receipt.subject in {one.subject for one in again}
        assert await reapply_erasures(it.erasing) == []
        record = await it.store.records.get(RecordKind.ERASURE, receipt.subject)
        assert record is not None
        assert record.data["receipt_id"] == receipt.receipt_id, "the receipt is there again, as it was"
    assert place.found() == []


async def test_an_old_backup_of_the_archive_is_not_restored_from(memory: Place, tmp_path: Path) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        session = it.sessions["ada archived"]
        heads = copy.deepcopy((memory.store.log._log, memory.store.heads._heads))  # type: ignore[attr-defined]  # a memory store's
        shutil.copytree(tmp_path / "archive" / "sessions", tmp_path / "old-archive")
        await erase_user(it.erasing, ADA)
        shutil.copytree(tmp_path / "old-archive", tmp_path / "archive" / "sessions", dirs_exist_ok=True)
        memory.store.heads._heads[session] = heads[1][session]  # type: ignore[attr-defined]  # as an old store has it
        with pytest.raises(UserErased, match="--reapply"):
            await restore_session(it.store, it.archive, it.erasing.commands, session, clock=it.erasing.clock)
        await reapply_erasures(it.erasing)
        assert memory.found() == []


async def test_who_came_back_is_left_alone_when_erasures_are_applied_again(memory: Place) -> None:
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        await erase_user(it.erasing, ADA)
        await later()
        conversation = await it.publish(it.client, said("a9", ADA, "I am back"))
        head = await it.settled(conversation)
        assert await reapply_erasures(it.erasing) == []
        assert await it.store.heads.get(head.session_id) == head


class Dying(MemoryStore):
    """A store under a process that dies at one of its calls."""

    left: int | None = None

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StoreUnavailable("the process dies here")

    def __init__(self) -> None:
        super().__init__()
        for name, calls in _CHANGES.items():
            section = getattr(self, name)
            for call in calls:
                setattr(section, call, _dying(self, getattr(section, call)))


_CHANGES = {
    "log": ("replace",),
    "records": ("put", "put_many", "delete", "delete_group"),
    "parked": ("delete",),
    "locks": ("acquire",),
}


def _dying(store: Dying, call: Callable[..., Any]) -> Callable[..., Any]:
    async def dying(*arguments: Any, **named: Any) -> Any:
        store.step()
        return await call(*arguments, **named)

    return dying


_STEPS = 52
"""A few more than one erasure takes."""


@sampled("step", each=4)
@pytest.mark.parametrize("step", range(_STEPS))
async def test_whatever_step_it_dies_at_the_next_run_brings_it_to_the_same_end(step: int, tmp_path: Path) -> None:
    place = Place("memory", tmp_path)
    store = Dying()
    place.store = store
    async with town(store, place.archive_url) as it:
        await live_in(it)
        plan = await find_user(it.erasing, ADA)
        store.left = step
        with suppress(StoreUnavailable):  # The last steps may be more than there are.
            await erase_user(it.erasing, ADA)
        assert step < _STEPS - 1 or store.left, "there are more steps"
        store.left = None
        receipt = await erase_user(it.erasing, ADA)
        assert place.found() == []
        assert set(receipt.sessions) == plan.sessions
        assert (receipt.messages, receipt.archives, receipt.records, receipt.parked) == (
            plan.messages,
            plan.archives,
            plan.records,
            plan.parked,
        )
        assert await texts(it, "lobby") == ["welcome to the lobby", "", "", "how much?", ""]


async def test_progress_is_told(memory: Place) -> None:
    seen: list[tuple[str, int]] = []
    async with town(memory.store, memory.archive_url) as it:
        await live_in(it)
        it.erasing.progress = lambda what, count: seen.append((what, count))
        await erase_user(it.erasing, ADA)
    assert {"archived sessions read", "conversations read"} <= {what for what, _ in seen}
    assert ("conversations erased", 2) in seen
    assert ("shared conversations changed", 2) in seen
