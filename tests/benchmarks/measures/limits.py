"""How near AgentBus comes to what there is: a relay that does nothing, the broker alone, the store alone.

Side by side in each round, on a backlog in bursts: the relay (aio-pika, no store); the broker carrying the same traffic
for plain sockets with canned frames (`contenders.canned`); the store given the documents that AgentBus left in it, by
`insert_many`, in chunks of 200, with the same indexes and the same durability.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from pymongo import MongoClient, WriteConcern

from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.messages import conversations
from tests.benchmarks.stage import Services, Stage, stage
from tests.harness.processes import started

_CHUNK: Final = 200
_COLLECTIONS: Final = {"log": "_id.c", "heads": "_id"}
"""With the field that names the conversation."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One round over a backlog in bursts: messages a second of each."""

    repeat: int
    messages: int
    agentbus: float
    relay: float
    broker: float
    """What the broker alone carries."""
    store: float
    """What the store alone takes: messages a second, however many of them lie in a document."""
    broker_client_s: float
    """Processor time of the canned client, in seconds: the rest of its time is the broker's."""
    documents: int
    """Documents that AgentBus left in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAlone:
    """What the store took for the documents of a backlog."""

    seconds: float
    documents: int
    event_bytes: int
    """Of an event that came of the same backlog, on average: what the broker alone is given to carry."""


def measure_store(run: Stage, name: str, users: int) -> StoreAlone:
    """Measure how long MongoDB takes for the documents that the workers of this stage left of the backlog `name`."""
    arrived = run.until_all(name)
    seconds, documents = 0.0, 0
    mine = conversations(name, users)
    with MongoClient[Document](run.store_url) as client:
        database = client.get_default_database()
        for collection, field in _COLLECTIONS.items():
            kept = list(database[collection].find({field: {"$in": mine}}))
            documents += len(kept)
            empty = database.get_collection(f"{collection}_again", write_concern=WriteConcern("majority", j=True))
            for index, made in database[collection].index_information().items():
                if index != "_id_":
                    options = {key: value for key, value in made.items() if key not in {"key", "v", "ns"}}
                    empty.create_index(list(made["key"]), name=index, **options)
            begun = monotonic()
            for start in range(0, len(kept), _CHUNK):
                empty.insert_many(kept[start : start + _CHUNK], ordered=False)
            seconds += monotonic() - begun
    return StoreAlone(
        seconds=seconds, documents=documents, event_bytes=round(arrived["bytes"] / max(1, arrived["events"]))
    )


def measure_broker(services: Services, users: int, each: int, size: int) -> tuple[float, float]:
    """Return how long the broker takes for such a backlog, events of `size` bytes, and the client's processor time."""
    total = users * each
    with stage(services, AGENTBUS1) as run:
        run.load.call("publish", shape="bursts", name="user", users=users, each=each)
        run.load.call("close")  # the canned client is the subscriber
        arguments = ("-m", "tests.benchmarks.contenders.canned", str(total), str(size))
        with started(*arguments, folder=run.folder, env=run.env) as program:
            program.until_printed("carried")
            _, seconds, used = program.output().split()
    return float(seconds), float(used)
