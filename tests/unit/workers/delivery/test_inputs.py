"""What comes back to whoever asks."""

from unittest.mock import AsyncMock

import pytest

from agentbus.contracts.commands import SetData
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import ReplyTimeout
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import CONVERSATION


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"command_id": 1}', b"\xff", b"[" * 100_000])
async def test_an_answer_that_cannot_be_read_is_none(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        monkeypatch.setattr(bus, "request", AsyncMock(return_value=answer))
        with pytest.raises(ReplyTimeout, match="retry with the same id"):
            await Inputs(bus).request(InputEnvelope(id="1", partitionkey=CONVERSATION, data=SetData()), timeout=1)
