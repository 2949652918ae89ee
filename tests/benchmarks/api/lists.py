"""Lists by HTTP: a page of all that there is, asked for again and again, one call after the other.

The API is a process of its own. The client reads the bytes to their end, and takes nothing of them apart while the
clock runs.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from agentbus.composition.app import make_store
from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import InputId, digest_of, session_id_for
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import OutgoingReply, ReplyState
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import Conflict, Entry
from agentbus.settings import load_settings
from agentbus.storage.port import Store
from agentbus.workers.archive.index import archived_session, put_index
from agentbus.workers.outbound.outbox import UNKNOWN_GROUP
from tests.benchmarks.api.sizes import Sizes
from tests.harness.builders import NOON, a_parked
from tests.harness.figures import milliseconds, percentile
from tests.harness.processes import running_worker
from tests.harness.stores import empty_store
from tests.services import LOOPBACK, RabbitMQ, free_port

LISTS: Final = {
    "sessions": "/v1/sessions?limit={rows}",
    "sessions without a tag": "/v1/sessions?limit={rows}&tag!=none",
    "parked": "/v1/parked?limit={rows}",
    "conflicts": "/v1/conflicts?limit={rows}",
    "replies": "/v1/replies?limit={rows}",
    "archive": "/v1/archive?limit={rows}",
    "suggestions": "/v1/suggestions",
}
"""What is asked for."""

_KEY: Final = "first:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
_BATCH: Final = 200
_WARM_UP: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A kind of store, encrypted or not."""

    kind: str
    encrypted: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.kind}, encrypted" if self.encrypted else self.kind


async def measure_lists(stage: Stage, broker: RabbitMQ, sizes: Sizes, folder: Path) -> dict[str, dict[str, float]]:
    """Return what each list takes on a store with `sizes.rows` of everything: p50 and p99, in ms."""
    with ExitStack() as stack:
        # A folder each: stores in files would meet there.
        place = folder / stage.name.replace(", ", "-")
        place.mkdir()
        url = stack.enter_context(empty_store(stage.kind, place))
        settings: dict[str, Any] = {"amqp_url": stack.enter_context(broker.fresh_vhost()), "store_url": url}
        settings |= {"encryption_keys": _KEY} if stage.encrypted else {}
        async with make_store(load_settings(**settings)) as store:
            await fill(store, sizes.rows)
        port = free_port()
        env = {f"AGENTBUS_{name.upper()}": value for name, value in settings.items()}
        env |= {"AGENTBUS_API_PORT": str(port), "AGENTBUS_API_RATE": "100000"}
        stack.enter_context(running_worker("api", folder=place, env=env))
        return {name: _timed(port, path.format(rows=sizes.rows), sizes) for name, path in LISTS.items()}


def _timed(port: int, path: str, sizes: Sizes) -> dict[str, float]:
    connection = HTTPConnection(LOOPBACK, port, timeout=60)
    took: list[float] = []
    try:
        for number in range(_WARM_UP + sizes.calls):
            begun = perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if number >= _WARM_UP:
                took.append(perf_counter() - begun)
            assert answer.status == 200, body
    finally:
        connection.close()
    listed = len(json.loads(body)["items"])
    assert listed == sizes.rows, f"{path} has {listed} items"
    return {"p50": milliseconds(percentile(took, 50)), "p99": milliseconds(percentile(took, 99))}


async def fill(store: Store, rows: int) -> None:
    """Keep so many sessions, as they are after a chat of 40 messages; each has a conflict, a reply of which nobody
    knows, a file in the archive, and is suggested to be somebody's; and so many parked inputs."""
    heads = [_head(number) for number in range(rows)]
    for start in range(0, rows, _BATCH):
        batch = heads[start : start + _BATCH]
        assert await store.heads.save(batch) == [None] * len(batch)
        await store.records.put_many([record for head in batch for record in _records(head)])
        numbers = range(start, start + len(batch))
        await store.parked.put_many([a_parked(f"p{number}", at=number, body=b"x" * 1000) for number in numbers])
    for head in heads:
        at = head.last_activity or NOON
        ref = ArchiveRef(url=f"s3://archive/{head.session_id}", digest="0f" * 32, sequence=3, messages=2, at=at)
        await put_index(store, archived_session(head, ref))


def _head(number: int) -> SessionState:
    address = Address(platform=Platform.TELEGRAM, chat=f"chat-{number}", user=f"user-{number}")
    conversation = conversation_id_for(address, Scope.PER_CHAT_USER)
    stamp = next_stamp(None, NOON, address.platform, conversation)
    session = session_id_for(conversation, 1)
    data = {"step": number, "cart": [{"sku": f"s{item}", "count": item} for item in range(5)], "notes": "word " * 100}
    metadata = {"title": f"Order {number}", "customer": f"c-{number}", "language": "en"}
    fields = [*(f"/data/{name}" for name in data), *(f"/metadata/{name}" for name in metadata)]
    entry = Entry(field="/data/step", value=number, stamp=stamp)
    reply = OutgoingReply(
        session_id=session, sequence=40, version=40, at=NOON, platform=address.platform, state=ReplyState.UNKNOWN
    )
    return SessionState(
        conversation_id=conversation,
        generation=1,
        version=40,
        sequence=40,
        first_version=1,
        status=SessionStatus.ACTIVE,
        address=address,
        data=data,
        metadata=metadata,
        stamps=dict.fromkeys(fields, stamp),
        profile=Profile(owner=address.user, agent_id="shop", tags=("new", "vip")),
        message_count=40,
        created_at=NOON,
        last_activity=NOON + timedelta(seconds=number),
        recent_inputs=tuple(InputId(digest_of((conversation, str(one)))) for one in range(40)),
        conflicts=(Conflict(held=entry, offered=entry, source=session, opened_at=NOON),),
        replies=(reply,),
    )


def _records(head: SessionState) -> Iterator[Record]:
    at = head.last_activity or NOON
    [reply] = head.replies
    yield Record(
        kind=RecordKind.OUTBOX, key=reply.reply_id, group=UNKNOWN_GROUP, created_at=at, data={"reason": "it timed out"}
    )
    pair = {"session_ids": [head.session_id, head.session_id], "reason": "email"}
    yield Record(kind=RecordKind.SUGGESTION, key=digest_of((head.session_id,)), group="open", created_at=at, data=pair)
