"""Expiry rules by HTTP."""

from tests.harness.api import World

RULE = {"strategy": "time", "conditions": {"max_age": 60}, "actions": ["notify", "expire"]}
AT = "/v1/expiry/rules"


async def test_a_rule_is_added_switched_and_taken_away(world: World) -> None:
    async with world.caller() as by:
        assert (await by.get(AT)).json() == {"items": []}
        put = await by.put(f"{AT}/old", json=RULE)
        assert (put.status_code, put.json()["enabled"]) == (200, True)
        assert (await by.put(f"{AT}/old", json=RULE | {"priority": 7})).json()["priority"] == 7
        assert (await by.patch(f"{AT}/old", json={"enabled": False})).json()["enabled"] is False
        [listed] = (await by.get(AT)).json()["items"]
        assert listed == (await by.get(f"{AT}/old")).json()
        assert (await by.get("/v1/expiry/statistics")).json()["total"] is not None
        for wrong in (RULE | {"rule_id": "old"}, RULE | {"actions": []}, RULE | {"conditions": {}}, RULE | {"x": 1}):
            assert (await by.put(f"{AT}/old", json=wrong)).status_code == 422, wrong
        assert (await by.delete(f"{AT}/old")).status_code == 204
        gone = [
            await by.get(f"{AT}/old"),
            await by.delete(f"{AT}/old"),
            await by.patch(f"{AT}/old", json={"enabled": True}),
        ]
    assert {(one.status_code, one.json()["code"]) for one in gone} == {(404, "rule_not_found")}
