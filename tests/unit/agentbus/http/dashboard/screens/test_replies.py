"""Replies of which nobody knows whether they were sent: somebody decides, and the conversation knows."""

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.replies import ReplyResolution, ReplyState, session_of_reply
from tests.harness.dashboard import a_desk, fill


@pytest.mark.parametrize("resolution", ReplyResolution)
async def test_somebody_decides(resolution: ReplyResolution) -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        assert "the connection was lost" in (await desk.get("/replies")).text
        decided = {"reply": filled.unknown, "resolution": resolution.value}
        answer = await desk.post("/replies/resolve", **decided, reason="asked Ann")
        assert filled.unknown in await desk.said_after(answer)
        client = AgentBus(desk.app.bus)
        replies = (await client.session(session_of_reply(filled.unknown))).replies
        states = {one.state for one in replies if one.reply_id == filled.unknown}
        assert ReplyState.UNKNOWN not in states
        assert filled.unknown not in (await desk.get("/replies")).text.partition("Still to be sent")[0]
        again = await desk.post("/replies/resolve", **decided)
        assert again.status_code in {404, 409}
        await client.close()


async def test_what_is_no_decision_is_refused() -> None:
    async with a_desk() as desk:
        for reply, resolution in (("x", "sent"), ("", "failed"), ("x", "maybe")):
            answer = await desk.post("/replies/resolve", reply=reply, resolution=resolution)
            assert answer.status_code == 422, (reply, resolution)
