"""A session worker on an encrypted store: what can't be decrypted is parked with its reason, others go on."""

import asyncio

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import SetData
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.ids import ConversationId, session_id_for
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.encryption import DataKey, EncryptedStore, of_conversation, of_user
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import address, message
from tests.harness.encryption import MASTERS
from tests.harness.patience import PATIENCE

USERS = ("ann", "bob")


def conversation(user: str) -> ConversationId:
    return conversation_id_for(address(user=user), Scope.PER_CHAT_USER)


async def master_of(plain: MemoryStore, subject: str, master: str) -> None:
    """Say of a subject's data key that it is wrapped with this master key."""
    async with EncryptedStore(plain, MASTERS) as store:
        assert store.keys is not None
        key = (await store.keys.to_encrypt([subject]))[subject]
        assert isinstance(key, DataKey)
        name = key.name
    record = await plain.records.get(RecordKind.DATA_KEY, name)
    assert record is not None
    await plain.records.put(record.model_copy(update={"data": record.data | {"master": master}}))


async def parked_in(store: EncryptedStore) -> ParkedInput:
    async with asyncio.timeout(PATIENCE):
        while not (found := [one async for one in iter_parked(store)]):
            await asyncio.sleep(0.01)
    return found[0]


@pytest.mark.parametrize("subject", [of_user("ann"), of_conversation(conversation("ann"))])
async def test_a_key_that_is_missing_parks_its_inputs_and_nobody_elses(subject: str) -> None:
    plain = MemoryStore()

    async def tell(number: int, *, waiting_for: str) -> ParkedInput | None:
        async with EncryptedStore(plain, MASTERS) as store, MemoryBus(Topology(partitions=1)) as bus:
            await bus.declare()
            worker = SessionWorker(bus, store, config=SessionWorkerConfig())
            client = AgentBus(bus)
            try:
                await client.start()
                await worker.start()
                await client.publish_many([message(number, f"m{number}", user=user) for user in USERS])
                head_of = session_id_for(conversation(waiting_for), 1)
                async with asyncio.timeout(PATIENCE):
                    await client.send(SetData(session_id=head_of, values={"number": number}))
                return await parked_in(store) if number == 2 else None
            finally:
                await worker.close()
                await client.close()

    await tell(1, waiting_for="ann")
    await master_of(plain, subject, "lost")

    parked = await tell(2, waiting_for="bob")

    assert parked is not None
    assert (parked.code, parked.conversation_id) == ("key_missing", conversation("ann"))
    assert "the master key 'lost' is needed" in parked.reason
    async with EncryptedStore(plain, MASTERS) as store:
        bob = await store.heads.get(session_id_for(conversation("bob"), 1))
        assert bob is not None
        assert bob.data == {"number": 2}
        if subject.startswith("conversation"):
            with pytest.raises(StoreDamaged):
                await store.heads.get(session_id_for(conversation("ann"), 1))
