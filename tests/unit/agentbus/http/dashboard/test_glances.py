"""What is dear to look up is looked up seldom, by one of those who look."""

import asyncio

import pytest

from agentbus.http.dashboard.glances import FRESH, SHARE, Glances


async def test_what_takes_long_is_told_for_longer() -> None:
    now, looked = [0.0], 0
    glances = Glances(lambda: now[0])

    async def look(seconds: float) -> int:
        nonlocal looked
        looked += 1
        now[0] += seconds
        return looked

    assert await glances.at("cheap", lambda: look(0.0)) == 1
    now[0] = FRESH - 0.1
    assert await glances.at("cheap", lambda: look(0.0)) == 1
    now[0] = FRESH
    assert await glances.at("cheap", lambda: look(0.0)) == 2
    assert await glances.at("dear", lambda: look(2.0)) == 3
    now[0] += 2.0 * SHARE - 0.1
    assert await glances.at("dear", lambda: look(2.0)) == 3
    now[0] += 0.1
    assert await glances.at("dear", lambda: look(2.0)) == 4


async def test_many_who_look_at_once_have_one_look() -> None:
    glances, looked, go_on = Glances(), 0, asyncio.Event()

    async def look() -> int:
        nonlocal looked
        looked += 1
        await go_on.wait()
        return looked

    many = [asyncio.ensure_future(glances.at("it", look)) for _ in range(5)]
    many.pop(0).cancel()
    go_on.set()
    assert await asyncio.gather(*many) == [1] * 4


async def test_what_fails_is_told_and_looked_up_again() -> None:
    glances = Glances()

    async def fails() -> int:
        raise ValueError("gone")

    async def works() -> int:
        return 7

    with pytest.raises(ValueError, match="gone"):
        await glances.at("it", fails)
    assert await glances.at("it", works) == 7
