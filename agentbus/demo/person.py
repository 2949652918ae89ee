"""The part of the demonstration about one person on two channels: linked, synced, and a session that ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App, need_archive
from agentbus.composition.workers import make_expiry_worker, make_sync, make_sync_worker
from agentbus.contracts.address import Platform
from agentbus.contracts.commands import SetData
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, Resolution, SyncPolicy
from agentbus.demo.cast import Speaker
from agentbus.demo.waiting import patience
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.sync.policies import DEFAULT

AT_HOME: Final = Speaker(Platform.TELEGRAM, "7390", "7390", "Mia")
ON_THE_WAY: Final = Speaker(Platform.WHATSAPP, "+4915550190", "+4915550190", "Mia")
SILENCE: Final = 2.0
"""Seconds of silence after which her session on the telephone is archived; she is warned one second before."""

_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Stage:
    """What this part plays on."""

    system: App
    client: AgentBus
    say: Callable[[str], None]
    receipts: list[Receipt]

    async def hears(self, speaker: Speaker, text: str) -> SessionId:
        """Publish a message and return its session, once it is in it."""
        message = speaker.says(text, uuid4().hex, datetime.now(UTC))
        receipt = await self.client.publish(message)
        self.receipts.append(receipt)
        session = session_id_for(receipt.conversation_id, 1)
        before = await self.system.store.heads.get(session)
        said = before.message_count if before else 0
        await self.until(session, lambda head: head.message_count > said or bool(before))
        return session

    async def until(self, session: SessionId, holds: Callable[[SessionState], bool]) -> SessionState:
        """Return the session's head once `holds` is true of it. Raises DemoStuck."""
        async with patience(f"session {session} changes as it should"):
            while True:
                head = await self.system.store.heads.get(session)
                if head and holds(head):
                    return head
                await asyncio.sleep(_PAUSE)


async def one_person(stage: Stage) -> None:
    """Let somebody write on two channels, be recognised, disagree with herself, and fall silent."""
    policies = make_sync(stage.system).policies
    await policies.keep(DEFAULT, SyncPolicy(strategy=ConflictStrategy.MANUAL))
    async with _sync_worker(stage):
        home, way = await _link(stage)
        await _disagree(stage, home, way)
    await _fall_silent(stage, way)


@asynccontextmanager
async def _sync_worker(stage: Stage) -> AsyncIterator[None]:
    worker = make_sync_worker(stage.system)
    await worker.start()
    try:
        yield
    finally:
        await worker.close()


async def _link(stage: Stage) -> tuple[SessionId, SessionId]:
    services = make_sync(stage.system)
    home = await stage.hears(AT_HOME, "Hello, I would like to go on with this on my telephone.")
    await stage.client.send(SetData(session_id=home, values={"language": "de", "seat": "window"}))
    code = await services.claims.issue(home)
    stage.say(f"{AT_HOME.name} writes on telegram, and asks for a claim code: {code.code}")
    way = await stage.hears(ON_THE_WAY, code.code)
    linked = await stage.until(way, lambda head: head.identity is not None and "language" in head.data)
    stage.say(f"she sends it on whatsapp: one person now, and what is known of her is there too: {linked.data}")
    return home, way


async def _disagree(stage: Stage, home: SessionId, way: SessionId) -> None:
    services = make_sync(stage.system)
    cities = {home: "Berlin", way: "Porto"}
    await side_by_side(
        stage.client.send(SetData(session_id=session, values={"city": city})) for session, city in cities.items()
    )
    at_home = await stage.until(home, lambda head: bool(head.conflicts))
    stage.say(f"both change at once: {at_home.data['city']} or Porto? A conflict, and neither is overwritten")
    await services.conflicts.resolve([home], Resolution(take_offered=True))
    heads = [await stage.until(one, lambda head: head.data.get("city") == "Porto") for one in (home, way)]
    heads = [await stage.until(head.session_id, lambda head: not head.conflicts) for head in heads]
    stage.say(f"somebody chooses, and both have it: {', '.join(str(head.data['city']) for head in heads)}")


async def _fall_silent(stage: Stage, session: SessionId) -> None:
    system = stage.system
    rule = ExpiryRule(
        rule_id="silent",
        name="Silent for a while",
        strategy=ExpiryStrategy.ACTIVITY,
        conditions=Conditions(idle_for=SILENCE, platforms=(Platform.WHATSAPP,), owners=(ON_THE_WAY.user,)),
        actions=(Step(action=CleanupAction.ARCHIVE),),
        warn_before=SILENCE / 2,
    )
    await ExpiryRules(system.store, system.clock).add(rule)
    worker = make_expiry_worker(system)
    await worker.start()
    try:
        warned = await stage.until(session, lambda head: head.expiry is not None)
        stage.say(f"a rule ends what is silent for {SILENCE:g} s: the session on whatsapp is warned")
        archived = await stage.until(session, lambda head: head.status is SessionStatus.ARCHIVED)
    finally:
        await worker.close()
    where = archived.archive.digest[:12] if archived.archive else ""
    stage.say(f"it expires and is archived, read back and verified: {warned.message_count} messages, sha256 {where}...")
    archive = need_archive(system.settings, system.store)
    restored = await restore_session(system.store, archive, system.commands, session, clock=system.clock)
    stage.say(f"restored from the archive it is {restored.status} again, with all that it knew: {restored.data}")
