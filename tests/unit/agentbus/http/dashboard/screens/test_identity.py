"""People: whose sessions are linked, by hand or as it was suggested, and unlinked again."""

from agentbus.client import AgentBus
from agentbus.composition.workers import make_sync
from agentbus.contracts.commands import SetMetadata
from agentbus.contracts.events import MetadataSet
from agentbus.operations.identity import get_identity, list_suggestions
from tests.harness.dashboard import PERSON, Desk, Filled, a_desk, fill


async def _suggested(desk: Desk, filled: Filled) -> str:
    """Have two sessions name the same e-mail address, as the sync worker sees it; return the suggestion's id."""
    client, metadata = AgentBus(desk.app.bus), {"verified_email": "bob@example.org"}
    for session in (filled.archived, filled.unknown.partition("/")[0]):
        await client.send(SetMetadata(session_id=session, values=metadata))
        state = await client.session(session)
        commits = await desk.app.store.log.read(state.conversation_id, first=state.version, limit=1)
        for event in commits[0].events:
            if isinstance(event, MetadataSet):
                await make_sync(desk.app).suggestions.note(event)
    await client.close()
    [suggestion] = await list_suggestions(desk.app)
    return suggestion.suggestion_id


async def test_sessions_are_linked_and_unlinked() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        page = (await desk.get(f"/identities?key={PERSON}")).text
        assert filled.session in page
        assert filled.other in page
        answer = await desk.post("/identities/unlink", session=filled.other)
        assert "is linked to nobody" in await desk.said_after(answer)
        assert (await get_identity(desk.app, PERSON)).session_ids == (filled.session,)
        sessions = f" {filled.other}\r\n{filled.session} "
        answer = await desk.post("/identities/link", key=f" {PERSON} ", name="Ann", sessions=sessions)
        assert "2 sessions belong to ann." in await desk.said_after(answer)
        wrong = await desk.post("/identities/link", key="somebody else", name="", sessions=filled.session)
        assert (wrong.status_code, "not possible" in wrong.text) == (409, True)
        assert "no session is linked" in (await desk.get("/identities?key=nobody")).text


async def test_what_is_suggested_is_confirmed_or_dismissed() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        suggestion = await _suggested(desk, filled)
        assert suggestion in (await desk.get("/identities")).text
        answer = await desk.post("/identities/confirm", suggestion=suggestion)
        assert "belong to one person" in await desk.said_after(answer)
        assert not await list_suggestions(desk.app)
        assert (await desk.post("/identities/dismiss", suggestion=suggestion)).status_code in {404, 409}
    async with a_desk() as desk:
        suggestion = await _suggested(desk, await fill(desk.app))
        answer = await desk.post("/identities/dismiss", suggestion=suggestion)
        assert "suggested no more" in await desk.said_after(answer)
        assert not await list_suggestions(desk.app)
