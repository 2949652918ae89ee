"""Figures are what the logs come to, although tracking workers are killed and every event comes up to 3 times."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform, conversation_id_for
from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ChangeState,
    CloseSession,
    DeleteSession,
    ResetSession,
    SetData,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.session import SessionStatus
from agentbus.storage.port import Store
from agentbus.workers.tracking.kept import read_tracked
from agentbus.workers.tracking.rebuilding import Rebuilding, Rebuilt
from agentbus.workers.tracking.worker import SUBSCRIPTION, TOPICS
from tests.harness.plain_figures import kept_figures, plain_figures
from tests.reactive.inside import DETOUR
from tests.reactive.inside.failpoints import Failpoint
from tests.reactive.system.begun import READS, SCOPE, a_message, in_parts, logs_of, patiently
from tests.reactive.system.crew import Dying
from tests.reactive.system.detour import Detour
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    chats: int
    inputs: int
    """To each chat, one after the other."""
    seconds: float
    """For which they come."""
    kill_every: float
    """Mean seconds between kills."""
    patience: float = 300.0


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Let chats talk while workers die; at rest hold what they keep against the logs, and a rebuild against both."""
    await stage.crew.start(2)
    await stage.crew.start(2, kind="tracking", env=DETOUR)
    addresses = [
        Address(platform=Platform.TELEGRAM, chat=f"chat-{number}", user=f"user-{number}")
        for number in range(size.chats)
    ]
    conversations = [conversation_id_for(address, SCOPE) for address in addresses]
    detour = Detour(stage.backends.amqp_url, stage.topology, SUBSCRIPTION, TOPICS, stage.random)
    points = (Failpoint.BEFORE_NOTE, Failpoint.AFTER_NOTE)
    dying = Dying(kind="tracking", points=points, every=size.kill_every, env=DETOUR)
    async with detour:
        async with stage.crew.dying(dying, stage.random):
            await asyncio.gather(*(_talk(stage, address, size) for address in addresses))
        stage.say(f"{size.chats * size.inputs} inputs given, {len(stage.crew.kills)} kills; waiting for rest")
        rest = await stage.settled(partial(_all_followed, stage, conversations), detour.queues, patience=size.patience)
    logs = await logs_of(stage.store, conversations)
    wanted, kept = plain_figures(logs).as_dict(), partial(kept_figures, stage.store)
    found = (await patiently(kept)).as_dict()
    rebuilt = await patiently(partial(_rebuilt, stage.store))
    again = (await patiently(kept)).as_dict()
    result.problems += _differences("kept by the workers", found, wanted)
    result.problems += _differences("of a rebuild", again, wanted)
    result.figures |= {
        "conversations": len(conversations),
        "sessions": len(wanted["sessions"]),
        "commits": sum(len(log) for log in logs.values()),
        "kills": len(stage.crew.kills),
        **{f"killed_{place}": count for place, count in stage.crew.died_at().items()},
        "events": detour.events,
        "deliveries": detour.copies,
    }
    result.expect(rest, "the system did not come to rest")
    result.expect(rebuilt == Rebuilt(conversations=size.chats), f"a rebuild left something out: {rebuilt}")
    result.expect(bool(stage.crew.kills), "no worker was killed")
    result.expect(detour.copies > detour.events, "no event came twice")


def _differences(
    whose: str, found: dict[str, dict[object, object]], wanted: dict[str, dict[object, object]]
) -> list[str]:
    return [
        f"{what} {key} {whose}: {found[what].get(key)}, the log says {wanted[what].get(key)}"
        for what in wanted
        for key in sorted({*found[what], *wanted[what]}, key=str)
        if found[what].get(key) != wanted[what].get(key)
    ]


async def _talk(stage: Stage, address: Address, size: Size) -> None:
    """Say and do things in a chat, at random moments; what its session does not allow is refused and parked."""
    client, random = AgentBus(stage.bus), Random(f"{stage.random.random()}/{address.chat}")
    for number in range(size.inputs):
        await asyncio.sleep(random.uniform(0, 2 * size.seconds / size.inputs))
        if number == 0 or random.random() < 0.5:
            await client.publish(a_message(address, f"message-{number}", datetime.now(UTC)))
        else:
            command = _a_command(random, address, number)
            await stage.commands.give([Input(InputId(f"{address.chat}-{number}"), command)])


def _a_command(random: Random, address: Address, number: int) -> AnyCommand:
    answer = AppendMessage(address=address, message=OutboundMessage(content=TextContent(text="an answer")))
    endings: list[AnyCommand] = [CloseSession(address=address), ResetSession(address=address)]
    status = random.choice([SessionStatus.IDLE, SessionStatus.SUSPENDED])
    commands: list[AnyCommand] = [
        answer,
        answer,
        SetData(address=address, values={"n": number}),
        ChangeState(address=address, status=status),
        random.choice(endings),
        DeleteSession(address=address),
    ]
    return random.choice(commands)


async def _all_followed(stage: Stage, conversations: Collection[ConversationId]) -> bool:
    logs = await logs_of(stage.store, conversations)
    for some in in_parts(list(logs.items()), READS):
        if not all(await asyncio.gather(*(_is_followed(stage, one, log) for one, log in some))):
            return False
    return True


async def _is_followed(stage: Stage, conversation: ConversationId, log: Sequence[Commit]) -> bool:
    return bool(log) and (await read_tracked(stage.store, conversation)).version == log[-1].version


async def _rebuilt(store: Store) -> object:
    """Rebuild the figures; return what the last step says."""
    *_, rebuilt = [progress async for progress in Rebuilding(store).run()]
    return rebuilt


TRIAL: Final = Trial(
    "count_once",
    run,
    full=Size(chats=200, inputs=60, seconds=180, kill_every=3),
    quick=Size(chats=30, inputs=20, seconds=12, kill_every=2, patience=90),
)
