"""Merges through a worker: what can't be carried out is parked, and holds nobody up."""

from datetime import UTC, datetime

import pytest

from agentbus.contracts.commands import CreateSession, LinkIdentity, MergeContext, SetData
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import IdentityConflict
from agentbus.contracts.events import ContextMerged
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.session import FAILURE_POLICY_KEY, FailurePolicy
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import Entry
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import address
from tests.harness.linked import ANN, conversation
from tests.unit.workers.session.test_worker import running
from tests.unit.workers.session.test_worker_deletion import head_of


def rome(city: str = "Rome") -> MergeContext:
    now = next_stamp(None, datetime.now(UTC), "slack", conversation("slack"))
    entry = Entry(field="/data/city", value=city, stamp=now)
    source = session_id_for(conversation("slack"), 1)
    return MergeContext(address=address(), identity=ANN, source=source, entries=(entry,))


async def test_a_merge_is_committed_announced_and_a_repeat_of_it_changes_nothing() -> None:
    async with running() as bench:
        session = (await bench.client.send(CreateSession(address=address()))).session_id
        assert session
        await bench.client.send(LinkIdentity(address=address(), identity=ANN))
        with pytest.raises(IdentityConflict):
            await bench.client.send(LinkIdentity(address=address(), identity="bob"))
        command = rome()
        reply = await bench.client.send(command, command_id="merge")
        assert (await bench.client.send(command, command_id="merge")).repeated
        assert (await bench.client.send(command)).version == reply.version
        head = await head_of(bench.store, session)
        assert (head.identity, head.data) == (ANN, {"city": "Rome"})
        await bench.until(lambda bench: any(isinstance(event.data, ContextMerged) for event in bench.events))
        assert {event.id for event in bench.events if isinstance(event.data, ContextMerged)} == {
            f"{session}/{head.sequence}"
        }


async def test_a_merge_that_is_parked_does_not_block_the_conversation() -> None:
    async with running() as bench:
        metadata = {FAILURE_POLICY_KEY: FailurePolicy.BLOCK.value}
        session = (await bench.client.send(CreateSession(address=address(), metadata=metadata))).session_id
        assert session
        await bench.client.send(LinkIdentity(address=address(), identity=ANN))
        for number in range(5):
            await bench.client.send(SetData(address=address(), values={f"{number}": "x" * 209_000}))
        await Inputs(bench.bus).give([Input(InputId("too-much"), rome("Rome" * 1000))])
        (parked,) = await bench.parked()
        assert parked.code == "limit_exceeded"
        await bench.client.send(SetData(address=address(), values={"a": 1}))
        assert (await head_of(bench.store, session)).blocked_by is None
