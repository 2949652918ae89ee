import asyncio

import pytest

from agentbus.demo import waiting
from agentbus.demo.waiting import DemoStuck, patience


async def test_the_demo_says_what_it_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    with pytest.raises(DemoStuck, match=r"waited 0.01 s, .*: two messages are announced"):
        async with patience("two messages are announced"):
            await asyncio.Event().wait()
