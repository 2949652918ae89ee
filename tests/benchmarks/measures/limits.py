"""How near AgentBus comes to what there is: a relay that does nothing, the broker alone, the store alone.

Side by side in each round, on the same backlog: the relay (aio-pika, no store); the broker carrying the same traffic
for plain sockets with canned frames (`contenders.canned`); the store given the documents that AgentBus left in it, by
`insert_many`, in chunks of 200, with the same indexes and the same durability.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from pymongo import MongoClient, WriteConcern

from tests.benchmarks.contenders import AGENTBUS1, RELAY
from tests.benchmarks.measures.throughput import measure_throughput
from tests.benchmarks.sizes import Sizes
from tests.benchmarks.stage import Services, stage
from tests.harness.processes import started

_CHUNK: Final = 200
_COLLECTIONS: Final = ("log", "heads")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One round over a backlog in bursts: messages a second of each."""

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


def measure_limits(services: Services, sizes: Sizes, idle: dict[str, float]) -> Limits:
    """Measure one round."""
    total = sizes.users * sizes.each
    with stage(services, AGENTBUS1) as run:
        run.load.call("publish", shape="bursts", name="user", users=sizes.users, each=sizes.each)
        run.start_workers()
        arrived = run.load.call("until_all")
        run.stop_workers()
        store, documents = _store_alone(run.store_url)
    relay = measure_throughput(services, RELAY, "bursts", sizes, idle[RELAY.name])
    seconds, used = _broker_alone(services, sizes, round(arrived["bytes"] / arrived["events"]))
    return Limits(
        messages=total,
        agentbus=total / (arrived["last"] - arrived["begun"]),
        relay=relay.rate,
        broker=total / seconds,
        store=total / store,
        broker_client_s=used,
        documents=documents,
    )


def _broker_alone(services: Services, sizes: Sizes, size: int) -> tuple[float, float]:
    """Return how long the broker takes for the same backlog, and the processor time of the client."""
    total = sizes.users * sizes.each
    with stage(services, AGENTBUS1) as run:
        run.load.call("publish", shape="bursts", name="user", users=sizes.users, each=sizes.each)
        run.load.call("close")  # the canned client is the subscriber
        arguments = ("-m", "tests.benchmarks.contenders.canned", str(total), str(size))
        with started(*arguments, folder=run.folder, env=run.env) as program:
            program.until_printed("carried")
            _, seconds, used = program.output().split()
    return float(seconds), float(used)


def _store_alone(store_url: str) -> tuple[float, int]:
    """Return how long MongoDB takes for the documents that are there, and how many these are."""
    seconds, documents = 0.0, 0
    with MongoClient[Document](store_url) as client:
        database = client.get_default_database()
        for name in _COLLECTIONS:
            kept = list(database[name].find())
            documents += len(kept)
            empty = database.get_collection(f"{name}_again", write_concern=WriteConcern("majority", j=True))
            for index, made in database[name].index_information().items():
                if index != "_id_":
                    options = {key: value for key, value in made.items() if key not in {"key", "v", "ns"}}
                    empty.create_index(list(made["key"]), name=index, **options)
            begun = monotonic()
            for start in range(0, len(kept), _CHUNK):
                empty.insert_many(kept[start : start + _CHUNK], ordered=False)
            seconds += monotonic() - begun
    return seconds, documents
