"""What the API says of itself."""

from tests.harness.api import World


async def test_the_document_is_served(world: World) -> None:
    async with world.caller() as by:
        document = (await by.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"]["/v1/messages"]["post"]["x-agentbus-role"] == "publish"
    assert document["security"] == [{"key": []}]
