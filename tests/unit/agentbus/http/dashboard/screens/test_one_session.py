"""One session in the dashboard: as a chat, as a time line, as of any version."""

import re

from agentbus.client import AgentBus
from agentbus.contracts.session import SessionState
from agentbus.testing.builders import a_head
from tests.harness.builders import a_conversation
from tests.harness.dashboard import a_desk, fill


async def test_a_conversation_reads_as_a_chat() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app, harm="I moved", name="Ann")
        page = (await desk.get(f"/sessions/{filled.session}")).text
        chat = page[page.index('<ol class="chat"') :]
        said = re.findall(r'<li class="([\w ]+)">', chat)
        assert said == ["user", "user", "user", "user", "user gone", "user", "user", "assistant", "assistant"]
        assert "order 4712?" in chat
        assert "order 4711?" not in chat
        assert "that was not for you" not in chat
        assert "<code>/start</code> from the shop" in chat
        assert "♥" in chat
        assert 'href="javascript' not in page


async def test_its_events_say_what_each_changed() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app, harm="I moved", name="Ann")
        page = (await desk.get(f"/sessions/{filled.session}?show=events")).text
        kinds = re.findall(r"<strong>([\w ]+)</strong>", page)
        assert kinds[-1] == "session started"
        assert {"message appended", "message edited", "data set", "reply sent", "profile changed"} <= set(kinds)
        assert "number: 4712, state: sent" in page
        assert "order 4711?" in page  # as it was said at first
        assert page.index("is there anything else?".capitalize()) < page.index("order 4711?")  # the latest first


async def test_it_is_shown_as_of_any_version() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app, harm="I moved", name="Ann")
        latest = await desk.app.store.heads.get(filled.session)
        assert isinstance(latest, SessionState)
        for version in range(1, latest.version + 1):
            page = (await desk.get(f"/sessions/{filled.session}?version={version}&show=data")).text
            assert ("As it was at version" in page) is (version < latest.version)
        before = (await desk.get(f"/sessions/{filled.session}?show=data&version=1")).text
        assert "4712" not in before
        first = (await desk.get(f"/sessions/{filled.session}?version=1")).text
        assert "/start" in first
        assert "taken back" not in first
        for odd in ("0", "-1", "x", "99999", "9" * 40, "²"):
            assert (await desk.get(f"/sessions/{filled.session}?version={odd}")).status_code == 200, odd
            assert (await desk.get(f"/sessions/{filled.session}?show=events&before={odd}")).status_code == 200, odd


async def test_a_session_without_events_of_its_own_has_its_pages() -> None:
    """Its log is gone, or not yet there: a store that lost it must not take the page with it."""
    async with a_desk() as desk:
        head = a_head(a_conversation("bare"))
        await desk.app.store.heads.save([head])
        for view in ("conversation", "events", "data", "access", "replies"):
            page = await desk.get(f"/sessions/{head.session_id}?show={view}")
            assert page.status_code == 200, view


async def test_a_session_that_waits_is_let_go_on() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        answer = await desk.post(f"/sessions/{filled.session}/unblock")
        assert answer.status_code in {303, 409}  # it waits for nothing: its owner decides
        client = AgentBus(desk.app.bus)
        assert (await client.session(filled.session)).blocked_by is None
        await client.close()
