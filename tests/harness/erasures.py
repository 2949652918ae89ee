"""A small town for erasures: users who write alone and together, on any store, and all the bytes that are kept."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import pymongo
from pydantic import JsonValue

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform, Scope
from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.commands import AppendMessage, CloseSession, LinkIdentity, SetData, SetMetadata, ShareSession
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of, digest_of
from agentbus.contracts.messages import (
    Content,
    EditContent,
    InboundMessage,
    OutboundMessage,
    ReactionContent,
    Role,
    TextContent,
)
from agentbus.contracts.parked import ParkedInput, parked_id_for
from agentbus.contracts.profile import Permission
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.port import Store
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.erasure.users import Erasing
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from agentbus.workers.sync.people.identities import reverse_group, reverse_key
from agentbus.workers.tracking.catch_up import Tracker
from tests.harness.conversations import NOW

ADA, ADA_SLACK, BOB, CAROL = "ada-4711", "U0ADA9", "bob-0815", "carol-99"
PERSON = "person-of-ada"
WORD = "xylophone"
"""A word in every text and value that Ada gives, and in nobody else's."""
NAME = "Ada Quicksilver"
TRACES = (ADA, ADA_SLACK, PERSON, WORD, NAME)
"""What must not be found anywhere once Ada was erased."""


def said(
    number: int | str,
    user: str,
    text: str = "",
    *,
    chat: str = "private",
    content: Content | None = None,
    platform: Platform = Platform.TELEGRAM,
) -> InboundMessage:
    return InboundMessage(
        address=Address(platform=platform, chat=chat, user=user),
        message_id=str(number),
        sent_at=NOW,
        sender_name=NAME if user in {ADA, ADA_SLACK} else user.title(),
        content=content or TextContent(text=text),
    )


@dataclass
class Town:
    """A session worker on a store, with an archive."""

    store: Store
    archive: ArchiveStore
    bus: MemoryBus
    client: AgentBus
    groups: AgentBus
    """A client for which a chat is one conversation, whoever writes."""
    erasing: Erasing
    sessions: dict[str, SessionId] = field(default_factory=dict)
    published: list[tuple[AgentBus, InboundMessage, str | None]] = field(default_factory=list)

    async def publish(self, client: AgentBus, message: InboundMessage, input_id: str | None = None) -> ConversationId:
        self.published.append((client, message, input_id))
        return (await client.publish(message, input_id=input_id)).conversation_id

    async def settled(self, conversation: ConversationId) -> SessionState:
        """Wait for what was published to a conversation, and return its latest head: a command comes after it."""
        address = await self.client.send(SetData(), to=conversation)
        assert address.session_id
        head = await self.store.heads.get(address.session_id)
        assert head is not None
        return head

    async def redeliver(self) -> None:
        """Publish everything once more, as a platform that lost its place would."""
        for client, message, input_id in list(self.published):
            await client.publish(message, input_id=input_id)


@asynccontextmanager
async def town(store: Store, archive_url: str, clock: Clock | None = None) -> AsyncIterator[Town]:
    async with store, MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=100))
        client, groups = AgentBus(bus), AgentBus(bus, scope=Scope.PER_CHAT)
        archive = open_archive(archive_url)
        erasing = Erasing(store=store, archive=archive, commands=Inputs(bus), clock=clock or SystemClock())
        try:
            await worker.start()
            yield Town(store, archive, bus, client, groups, erasing)
        finally:
            await worker.close()


async def live_in(town: Town) -> None:
    """Let people write: Ada alone on two channels that are linked, and with others; Bob alone."""
    await _alone(town)
    await _linked(town)
    await _together(town, "lobby", archived=False)
    await _together(town, "attic", archived=True)
    bob = await town.publish(town.client, said("b1", BOB, "I am Bob"))
    town.sessions["bob"] = (await town.settled(bob)).session_id
    await _beside(town)


async def _alone(town: Town) -> None:
    conversation = await town.publish(town.client, said("a1", ADA, f"my {WORD} is broken"), f"hook-{ADA}-1")
    await town.publish(town.client, said("a2", ADA, f"please mend the {WORD}"))
    head = await town.settled(conversation)
    await town.client.send(SetData(session_id=head.session_id, values={"wants": f"a {WORD}", ADA: [1]}))
    await _reply(town, conversation, f"your {WORD} will be mended")
    await town.client.send(CloseSession(session_id=head.session_id))
    ended = await town.store.heads.get(head.session_id)
    assert ended is not None
    await archive_session(town.store, town.archive, town.erasing.commands, ended)
    await town.publish(town.client, said("a3", ADA, f"is the {WORD} ready?"))
    now = await town.settled(conversation)
    assert now.generation == 2
    town.sessions |= {"ada archived": head.session_id, "ada": now.session_id}


async def _linked(town: Town) -> None:
    slack = await town.publish(town.client, said("s1", ADA_SLACK, f"the {WORD}, please", platform=Platform.SLACK))
    town.sessions["ada on slack"] = (await town.settled(slack)).session_id
    for name in ("ada", "ada on slack"):
        await town.client.send(LinkIdentity(session_id=town.sessions[name], identity=PERSON))


async def _together(town: Town, chat: str, *, archived: bool) -> None:
    """Let Bob begin a group, in which Ada wrote, edited and reacted, and was answered."""
    group = await town.publish(town.groups, said(f"{chat}1", BOB, f"welcome to the {chat}", chat=chat))
    await town.publish(town.groups, said(f"{chat}2", ADA, f"hi, I sell a {WORD}", chat=chat), f"hook-{ADA}-{chat}")
    await _reply(town, group, f"a {WORD}, Ada? Nice.")
    await town.publish(town.groups, said(f"{chat}3", CAROL, "how much?", chat=chat))
    edit = EditContent(target=f"{chat}2", text=f"I sell two {WORD}s")
    await town.publish(town.groups, said(f"{chat}4", ADA, chat=chat, content=edit))
    reaction = ReactionContent(target=f"{chat}1", reaction="heart")
    await town.publish(town.groups, said(f"{chat}5", ADA, chat=chat, content=reaction))
    head = await town.settled(group)
    await town.client.send(SetData(session_id=head.session_id, values={"seller": ADA, "prices": {ADA: 3}}))
    for user in (ADA, BOB):
        share = ShareSession(session_id=head.session_id, user=user, permission=Permission.WRITE)
        await town.client.send(share)
    about, rule = {"about": f"the {WORD}", "rule": f"buy a {WORD}"}, {"rule": "be kind"}
    await town.client.send(SetMetadata(session_id=head.session_id, actor=ADA, values=about))
    await town.client.send(SetMetadata(session_id=head.session_id, actor=BOB, values=rule))
    await town.publish(town.groups, said(f"{chat}6", ADA, f"four, the {WORD} is old", chat=chat))
    head = await town.settled(group)
    town.sessions[chat] = head.session_id
    if archived:
        await town.client.send(CloseSession(session_id=head.session_id))
        ended = await town.store.heads.get(head.session_id)
        assert ended is not None
        await archive_session(town.store, town.archive, town.erasing.commands, ended)


async def _reply(town: Town, conversation: ConversationId, text: str) -> None:
    message = OutboundMessage(role=Role.ASSISTANT, content=TextContent(text=text))
    await town.client.send(AppendMessage(message=message), to=conversation)


async def _beside(town: Town) -> None:
    """Keep records and parked inputs that belong to sessions."""
    ada, lobby = town.sessions["ada"], town.sessions["lobby"]
    sold = {"seller": ADA, "kept": 1, "metadata": {"about": f"the {WORD}", "rule": "be kind"}}
    records = [
        Record(kind=RecordKind.CHECKPOINT, key="c1", group=ada, created_at=NOW, data={"wants": WORD}),
        Record(kind=RecordKind.CHECKPOINT, key="c2", group=lobby, created_at=NOW, data=sold),
        a_state(ada),
        a_state(lobby),
        Record(kind=RecordKind.TRACKED_EVENT, key="t1", group=ada, created_at=NOW, data={"data": {"heard": WORD}}),
        Record(
            kind=RecordKind.TRACKED_EVENT,
            key="t2",
            group=lobby,
            created_at=NOW,
            data={"kind": "feedback", "actor": ADA, "data": {"heard": WORD}},
        ),
        Record(kind=RecordKind.DEADLINE, key=ada, group="0", created_at=NOW, data={"owner": ADA}, due_at=NOW),
        Record(kind=RecordKind.IDENTITY, key=PERSON, group="identities", created_at=NOW, data={"display_name": NAME}),
        Record(kind=RecordKind.CHECKPOINT, key="c3", group=town.sessions["bob"], created_at=NOW, data={"of": BOB}),
    ]
    records += [
        Record(
            kind=RecordKind.IDENTITY,
            key=key,
            group=group,
            created_at=NOW,
            data={"conversation": conversation, "identity": PERSON},
        )
        for conversation in map(conversation_of, (ada, lobby))
        for key, group in (
            (f"linked-{conversation}", digest_of(("identity", PERSON))),
            (reverse_key(conversation, PERSON), reverse_group(conversation)),
        )
    ]
    for record in records:
        await town.store.records.put(record)
    await Tracker(town.store, town.archive).catch_up({conversation_of(one) for one in town.sessions.values()})
    envelope = InputEnvelope(id="x", data=said("p1", ADA, f"parked {WORD}", chat="lobby"))
    for body in (
        envelope.to_bytes(),
        f"not json, {ADA} and the {WORD}".encode(),
        f"x{ADA}x{WORD}".encode(),
        b'{"user": "bob-0815"}',
    ):
        await town.store.parked.put(a_parked(body))


def a_state(session: SessionId) -> Record:
    heard: JsonValue = {"memory": {"heard": WORD}}
    return Record(kind=RecordKind.COMPONENTS, key=session, group="components", created_at=NOW, data={"states": heard})


def a_parked(body: bytes) -> ParkedInput:
    return ParkedInput(
        parked_id=parked_id_for("", body),
        queue="agentbus.inbound.0",
        code="schema_violation",
        reason="a field is wrong",
        parked_at=NOW,
        size=len(body),
        body=body,
    )


def everything_in(folder: Path) -> bytes:
    """Return all bytes in a folder, names of files too; what is compressed, uncompressed."""
    found = []
    for path in sorted(folder.rglob("*")):
        found.append(str(path.relative_to(folder)).encode())
        if path.is_symlink():
            found.append(str(path.readlink()).encode())
        elif path.is_file():
            data = path.read_bytes()
            found.append(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return b"\n".join(found)


def everything_in_database(url: str) -> bytes:
    """Return all bytes of all documents of a MongoDB database, as they are stored."""
    return b"\n".join(bson.encode(document) for found in documents_in(url).values() for document in found)


def documents_in(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return the documents of a MongoDB database, by collection."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        return {name: list(database[name].find()) for name in database.list_collection_names()}


async def heads_in(store: Store) -> dict[SessionId, SessionState]:
    page = await store.heads.page(SessionFilter(), limit=1000)
    return {head.session_id: head for head in page.items}
