"""Restores for tests: conversations worth backing up, a backup of them, and a store in use to restore it to."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentbus.contracts.backup import Manifest
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import AppendMessage, CloseSession, CreateSession, ResetSession, SetData
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.profile import Profile
from agentbus.contracts.recovery import Outcome, RestoredSession, RestoreRun
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.backup import BackupReader, SessionDigests
from agentbus.storage.history import iter_history
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.recovery import Erasures, RecoveryOptions, Target, look, restore
from tests.harness.backups import backed_up, backups_in
from tests.harness.conversations import address, message
from tests.unit.workers.session.test_worker import Bench

Rows = dict[SessionId, RestoredSession]


async def say(bench: Bench, chat: str, text: str, **fields: Any) -> None:
    said = OutboundMessage(content=TextContent(text=text), **fields)
    await bench.client.send(AppendMessage(address=address(chat), message=said))


async def some_conversations(bench: Bench) -> dict[str, ConversationId]:
    """Make conversations of several kinds, by chat: one live, one with two sessions, one that has ended."""
    found: dict[str, ConversationId] = {}
    for chat in ("live", "two", "ended"):
        profile = Profile(owner="ada", tags=(chat,))
        reply = await bench.client.send(CreateSession(address=address(chat), data={"chat": chat}, profile=profile))
        assert reply.session_id
        found[chat] = conversation_of(reply.session_id)
        await bench.client.publish(message(f"{chat}-1", f"hello {chat}", chat=chat))
        await say(bench, chat, f"hi {chat}", message_id=f"{chat}-r1")
    await bench.client.send(ResetSession(address=address("two")))
    await say(bench, "two", "again", message_id="two-r2")
    await bench.client.send(SetData(address=address("two"), values={"second": True}))
    await bench.client.send(CloseSession(address=address("ended")))
    await bench.until_texts(7)
    return found


async def backup_of(store: Store, folder: Path) -> tuple[Manifest, BackupReader]:
    place = backups_in(folder)
    manifest = await backed_up(store, place)
    return manifest, BackupReader(place, manifest)


def target_of(bench: Bench) -> Target:
    return Target(store=bench.store, commands=Inputs(bench.bus), topology=bench.bus.topology, clock=SystemClock())


async def erasures_of(store: Store) -> Erasures:
    return Erasures(await Receipts.load(store, None))


async def restored(
    target: Target,
    reader: BackupReader,
    options: RecoveryOptions | None = None,
    *,
    directly: bool = False,
    erasures: Erasures | None = None,
) -> tuple[Rows, RestoreRun]:
    """Restore a backup; return what became of each session, and the restore."""
    erasures = erasures or await erasures_of(target.store)
    steps = [step async for step in restore(target, reader, options or RecoveryOptions(), erasures, directly=directly)]
    assert isinstance(steps[-1], RestoreRun)
    rows = [step for step in steps if isinstance(step, RestoredSession)]
    counted = Counter(row.outcome for row in rows)
    assert steps[-1].outcomes == counted
    return {row.session_id: row for row in rows}, steps[-1]


async def restored_directly(
    store: Store, reader: BackupReader, erasures: Erasures | None = None, *, directly: bool = True
) -> tuple[Rows, RestoreRun]:
    """Restore a backup to a store that nobody uses."""
    bus = MemoryBus(Topology(partitions=4))
    target = Target(store=store, commands=Inputs(bus), topology=bus.topology, clock=SystemClock())
    return await restored(target, reader, directly=directly, erasures=erasures)


async def looked_at(store: Store, reader: BackupReader, options: RecoveryOptions | None = None) -> Rows:
    rows = look(store, reader, options or RecoveryOptions(), await erasures_of(store))
    return {row.session_id: row async for row in rows}


def outcomes(rows: Rows) -> dict[Outcome, int]:
    return dict(Counter(row.outcome for row in rows.values()))


async def digests_of(store: Store, conversations: Sequence[ConversationId]) -> dict[SessionId, str]:
    """Return the digest of each session's events."""
    found: dict[SessionId, str] = {}
    for conversation in conversations:
        digests = SessionDigests()
        async for commit in iter_log(store, conversation):
            digests.add(commit)
        found |= {SessionId(f"{conversation}.{mark.generation}"): mark.digest for mark in digests.marks()}
    return found


async def texts_of(store: Store, session: SessionId) -> list[str]:
    """Return what is shown of a session."""
    head = await store.heads.get(session)
    assert head is not None
    return [
        item.message.content.text
        async for item in iter_history(store, head)
        if isinstance(item.message.content, TextContent)
    ]


async def head_of(store: Store, session: SessionId) -> SessionState:
    head = await store.heads.get(session)
    assert head is not None
    return head
