"""Conflicts: somebody takes one of the two values, and it is over."""

import pytest

from agentbus.client import AgentBus
from tests.harness.dashboard import a_desk, fill


@pytest.mark.parametrize(("take", "language"), [("held", "en"), ("offered", "fr")])
async def test_one_of_two_values_is_taken(take: str, language: str) -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app, harm="fr")
        page = (await desk.get("/conflicts")).text
        assert "/data/language" in page
        chosen = {"session": filled.session, "field": "/data/language", "take": take}
        assert "/data/language of" in await desk.said_after(await desk.post("/conflicts/resolve", **chosen))
        client = AgentBus(desk.app.bus)
        state = await client.session(filled.session)
        assert (state.data["language"], state.conflicts) == (language, ())
        await client.close()
        assert "No conflicts" in (await desk.get("/conflicts")).text
        assert "any more" in await desk.said_after(await desk.post("/conflicts/resolve", **chosen))
        for wrong in ({"take": "both"}, {"field": "language"}, {"session": "x"}):
            assert (await desk.post("/conflicts/resolve", **chosen | wrong)).status_code in {404, 422}, wrong
