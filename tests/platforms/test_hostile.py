"""A slice of `python -m tests.platforms.hostile`: whatever comes, nothing fails, and each request is accounted for."""

from tests.platforms.hostile import attack

COUNT = 400


async def test_whatever_comes_is_answered_and_accounted_for() -> None:
    found = await attack(COUNT)

    assert (found["failed"], found["unaccounted"], found["not_read"]) == (0, 0, 0)
    assert set(found["statuses"]) == {200, 400, 401, 404, 405, 413}
    # What the router of the web framework refused never came to an account: 404 and 405 beyond those that are counted.
    elsewhere = found["statuses"][404] - found["outcomes"]["unknown"] + found["statuses"][405]
    assert sum(found["outcomes"].values()) + elsewhere == COUNT
    assert found["published"] == found["events"]["message"] + found["events"]["unsupported"]
    assert all(found["events"][what] for what in ("message", "unsupported", "ignored"))
