"""A message and the command to expire its session, at the same moment: one of them wins, never both."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

from agentbus.client import AgentBus
from agentbus.composition.app import make_bus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import AnyEvent, Commit, ExpiryStepTaken, MessageAppended, SessionStarted, StateChanged
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import InputId, generation_of
from agentbus.contracts.session import SessionStatus
from agentbus.workers.delivery.inputs import Inputs
from tests.reactive.system.begun import Begun, a_message, begun, in_parts, logs_of, states_of, write_begun
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial

_AT_ONCE: Final = 50
"""Races that run side by side."""
_JITTER: Final = 0.004
"""Seconds that either may start later."""
_REPEATED: Final = 0.3
"""The share of messages and commands that are sent twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    races: int
    patience: float = 300.0


@dataclass(frozen=True, slots=True)
class Race:
    """A conversation, and the two that race for it."""

    begun: Begun
    command: Input

    @property
    def message_id(self) -> str:
        """The id of the message that races."""
        return f"race-{self.begun.conversation}"


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Race, then read the logs."""
    races = [_race(number, stage.random) for number in range(size.races)]
    await write_begun(stage.store, [race.begun for race in races])
    await stage.crew.start(2)
    async with make_bus(stage.settings) as other:
        client, commands = AgentBus(stage.bus), Inputs(other)
        for number, some in enumerate(in_parts(races, _AT_ONCE)):
            # One start for all of them: what decides is the jitter, the broker and the workers.
            await asyncio.gather(*(_run_race(race, client, commands, stage.random) for race in some))
            if number % 20 == 19:
                stage.say(f"{(number + 1) * _AT_ONCE} of {size.races} races run")
    rest = await stage.settled(partial(_all_over, stage, races), (), patience=size.patience)
    logs = await logs_of(stage.store, [race.begun.conversation for race in races])
    extended = expired = 0
    for race in races:
        match outcome(race, logs[race.begun.conversation]):
            case "extended":
                extended += 1
            case "expired":
                expired += 1
            case wrong:
                result.problems.append(f"{race.begun.conversation}: {wrong}")
    result.figures |= {"races": size.races, "message_won": extended, "expiry_won": expired}
    result.expect(rest, "the system did not come to rest")
    result.expect(extended > 0, "the message never won")
    result.expect(expired > 0, "the expiry never won")


def outcome(race: Race, log: Iterable[Commit]) -> str:
    """Return `extended` or `expired`, or what else a log says."""
    events = [event for commit in log for event in commit.events]
    generations = {generation_of(event.session_id) for event in events}
    first = [event for event in events if generation_of(event.session_id) == 1]
    second = [event for event in events if generation_of(event.session_id) == 2]
    ends = [one for one in first if isinstance(one, StateChanged) and one.status is SessionStatus.EXPIRED]
    steps = [one for one in events if isinstance(one, ExpiryStepTaken)]
    in_first, in_second = ([_is_of(race, one) for one in part].count(True) for part in (first, second))
    if (generations, in_first, ends, steps) == ({1}, 1, [], []):
        return "extended"
    one_end = len(ends) == len(steps) == 1 and steps[0] in first and ends[0].cause == steps[0].cause == race.command.id
    if generations == {1, 2} and one_end and in_first == 0 and in_second == 1 and _begins_with_it(race, second):
        return "expired"
    return f"neither or both: {[(event.event_id, event.kind) for event in events]}"


def _begins_with_it(race: Race, events: Sequence[AnyEvent]) -> bool:
    return isinstance(events[0], SessionStarted) and _is_of(race, events[1])


def _is_of(race: Race, event: AnyEvent) -> bool:
    return isinstance(event, MessageAppended) and event.message.message_id == race.message_id


def _race(number: int, random: Random) -> Race:
    address = Address(platform=random.choice([Platform.TELEGRAM, Platform.SLACK]), chat="race", user=f"user-{number}")
    prepared = begun(address, datetime.now(UTC))
    action = random.choice([CleanupAction.EXPIRE, CleanupAction.ARCHIVE])
    command = ExpireSession(
        session_id=prepared.head.session_id, rule_id="race", step=0, action=action, seen=prepared.head.sequence
    )
    return Race(prepared, Input(InputId(f"expire-{prepared.conversation}"), command))


async def _run_race(race: Race, client: AgentBus, commands: Inputs, random: Random) -> None:
    message = a_message(race.begun.address, race.message_id, datetime.now(UTC))

    async def send() -> None:
        await asyncio.sleep(random.uniform(0, _JITTER))
        for _ in range(_times(random)):
            await client.publish(message)

    async def expire() -> None:
        await asyncio.sleep(random.uniform(0, _JITTER))
        for _ in range(_times(random)):
            await commands.give([race.command])

    first, second = random.sample([send, expire], k=2)
    await asyncio.gather(first(), second())


def _times(random: Random) -> int:
    return 2 if random.random() < _REPEATED else 1


async def _all_over(stage: Stage, races: Sequence[Race]) -> bool:
    states = await states_of(stage.store, [race.begun.conversation for race in races])
    return all(_input_id(race) in states[race.begun.conversation].recent_inputs for race in races)


def _input_id(race: Race) -> str:
    return a_message(race.begun.address, race.message_id, race.begun.commit.at).input_id()


TRIAL: Final = Trial("races", run, full=Size(races=10_000), quick=Size(races=500, patience=60))
