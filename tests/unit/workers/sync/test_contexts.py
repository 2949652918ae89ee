"""What a session has to pass on to one that is linked with it: what was said in it, as it reads now."""

from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.ids import session_id_for
from agentbus.storage.memory import MemoryStore
from agentbus.workers.sync.contexts import messages_after, to_copy
from tests.harness.builders import a_commit, a_conversation, a_head, appended, deleted, edited

ONE = a_conversation("said here")
ANN = "ann"


async def kept(*events: AnyEvent) -> MemoryStore:
    """Return a store with a commit for each of `events`."""
    store = MemoryStore()
    await store.log.append([a_commit(ONE, number, events=[event]) for number, event in enumerate(events, start=1)])
    return store


def said(number: int, name: str, **changes: object) -> MessageAppended:
    return appended(ONE, number, name).model_copy(update={"identity": ANN} | changes)


def texts(messages: list[MessageAppended]) -> list[object]:
    return [getattr(one.message.content, "text", None) for one in messages]


async def test_only_what_was_said_in_it_while_it_was_linked_is_passed_on() -> None:
    store = await kept(
        said(1, "before", identity=None),
        said(2, "linked"),
        said(3, "copy", source=session_id_for(a_conversation("elsewhere"), 1)),
        said(4, "back", restored=True),
        said(5, "of another", identity="bob"),
        said(6, "last"),
    )
    head = a_head(ONE, version=6)
    assert texts(await messages_after(store, head, 0, ANN)) == ["says linked", "says last"]
    assert texts(await messages_after(store, head, 2, ANN)) == ["says last"]


async def test_what_was_deleted_is_not_passed_on_and_what_was_edited_reads_as_it_does_now() -> None:
    messages = [said(1, "kept"), said(2, "regretted"), said(3, "mistyped")]
    store = await kept(*messages, deleted(ONE, 4, "regretted"), edited(ONE, 5, "mistyped", "typed"))
    assert texts(await messages_after(store, a_head(ONE, version=5), 0, ANN)) == ["says kept", "typed"]
    assert texts(await to_copy(store, ONE, messages)) == ["says kept", "typed"]
