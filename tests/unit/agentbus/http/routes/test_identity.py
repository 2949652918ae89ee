"""Identities by HTTP."""

from tests.harness.api import World, a_message


async def test_sessions_are_linked_and_taken_apart(world: World) -> None:
    async with world.caller() as by:
        sessions = [
            (await by.post("/v1/messages", json=a_message(user=user))).json()["session_id"] for user in ("ann", "a.b")
        ]
        assert (await by.get("/v1/identities/ann")).status_code == 404
        body = {"session_ids": sessions, "display_name": "Ann"}
        linked = await by.post("/v1/identities/ann/sessions", json=body)
        assert linked.status_code == 200, linked.text
        shown = (await by.get("/v1/identities/ann")).json()
        assert (set(shown["session_ids"]), shown["display_name"]) == (set(sessions), "Ann")
        other = await by.post("/v1/identities/bob/sessions", json={"session_ids": sessions[:1]})
        assert (other.status_code, other.json()["code"]) == (409, "identity_conflict")
        for wrong in ([], ["x"]):
            answer = await by.post("/v1/identities/ann/sessions", json={"session_ids": wrong})
            assert answer.status_code == 422
        assert (await by.delete(f"/v1/sessions/{sessions[0]}/identity")).status_code == 204
        assert (await by.delete(f"/v1/sessions/{sessions[0]}/identity")).status_code == 404
        assert (await by.get("/v1/identities/ann")).json()["session_ids"] == sessions[1:]
        assert (await by.get("/v1/suggestions")).json() == {"items": []}
        for what in ("confirm", "dismiss"):
            missing = await by.post(f"/v1/suggestions/nothing/{what}")
            assert (missing.status_code, missing.json()["code"]) == (404, "suggestion_not_found")


async def test_a_claim_code_is_given_out(world: World) -> None:
    async with world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        given = await by.post(f"/v1/sessions/{session}/claim-codes", json={"valid_for": 60})
        assert (given.status_code, given.json()["session_id"]) == (201, session)
        assert len(given.json()["code"]) >= 6
        assert (await by.post(f"/v1/sessions/{session}/claim-codes", json={"valid_for": 0})).status_code == 422
        assert (await by.post("/v1/sessions/x/claim-codes")).status_code == 404
        assert (await by.get(f"/v1/sessions/{session}/identity")).status_code == 404
