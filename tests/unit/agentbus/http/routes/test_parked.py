"""Parked inputs by HTTP."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import InboundMessage, TextContent
from tests.harness.api import World, a_message
from tests.harness.builders import a_parked


def envelope(text: str) -> bytes:
    message = InboundMessage(
        address=Address(platform=Platform.WEB, chat="c", user="ann"),
        message_id="m1",
        sent_at=datetime.now(UTC),
        content=TextContent(text=text),
    )
    return InputEnvelope(id=message.input_id(), data=message).to_bytes()


async def test_they_are_listed_shown_and_discarded(world: World) -> None:
    parked = [a_parked(name, at=number) for number, name in enumerate(("one", "two", "three"))]
    for one in parked:
        await world.app.store.parked.put(one)
    async with world.caller() as by:
        page = (await by.get("/v1/parked", params={"limit": 2})).json()
        rest = (await by.get("/v1/parked", params={"after": page["cursor"]})).json()
        listed = [one["parked_id"] for one in page["items"] + rest["items"]]
        assert listed == [one.parked_id for one in reversed(parked)]
        assert "body" not in page["items"][0]
        shown = (await by.get(f"/v1/parked/{listed[0]}")).json()
        assert b64decode(shown["body"], validate=True) == parked[-1].body
        assert shown["size"] == len(parked[-1].body)
        assert (await by.post(f"/v1/parked/{listed[0]}/discard")).status_code == 204
        for status, expected in (("parked", listed[1:]), ("discarded", listed[:1]), ("any", listed), ("replayed", [])):
            found = (await by.get("/v1/parked", params={"status": status})).json()["items"]
            assert [one["parked_id"] for one in found] == expected, status
        for path in (f"/v1/parked/{'0' * 32}", f"/v1/parked/{'0' * 32}/discard", f"/v1/parked/{'0' * 32}/replay"):
            answer = await (by.get(path) if path.endswith("0") else by.post(path))
            assert (answer.status_code, answer.json()["code"]) == (404, "parked_not_found")


async def test_one_is_published_again_as_it_was_or_corrected(world: World) -> None:
    good = a_parked("good", body=envelope("hello"))
    broken = a_parked("broken", body=b"{")
    for one in (good, broken):
        await world.app.store.parked.put(one)
    async with world.caller() as by:
        answer = await by.post(f"/v1/parked/{good.parked_id}/replay")
        assert answer.status_code == 200, answer.text
        assert answer.json()["queue"].startswith("agentbus.inbound.")
        for corrected in ("{}", "ä", "", b64encode(b"no envelope").decode()):
            wrong = await by.post(f"/v1/parked/{broken.parked_id}/replay", json={"corrected": corrected})
            assert wrong.status_code in {400, 422}, corrected
        body = {"corrected": b64encode(envelope("mended")).decode()}
        assert (await by.post(f"/v1/parked/{broken.parked_id}/replay", json=body)).status_code == 200
        replayed = (await by.get("/v1/parked", params={"status": "replayed"})).json()["items"]
    assert {one["parked_id"] for one in replayed} == {good.parked_id, broken.parked_id}


async def test_a_conversation_is_set_going_again(world: World) -> None:
    async with world.caller() as by:
        published = (await by.post("/v1/messages", json=a_message())).json()
        conversation = published["conversation_id"]
        parked = a_parked("waits", body=envelope("hello"), conversation=ConversationId(conversation))
        await world.app.store.parked.put(parked)
        answer = await by.post(f"/v1/conversations/{conversation}/replay")
        assert answer.json() == {"published": 1, "waits_for": None, "reason": ""}
        assert (await by.post(f"/v1/conversations/{conversation}/replay", json={"within": 5})).json()["published"] == 0
        assert (await by.post("/v1/conversations/x/replay")).status_code == 422
