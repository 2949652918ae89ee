"""Messages that can't be handled: each is parked, and its neighbours go on."""

import time
from uuid import UUID

from agentbus.workers.bus.port import Message
from tests.chaos.faults.fault import Fault
from tests.chaos.inside.poison import KILLS, KILLS_UNREAD, RAISES
from tests.chaos.system.arena import Arena, Injection, Layout

_UNDECODABLE = b"\xff\xfe this is no JSON"
_WRONG_SCHEMA = b'{"specversion":"1.0","type":"agentbus.input.v1","id":"x","source":"/chaos","data":{"kind":"message"}}'


async def five_kinds(arena: Arena) -> Injection:
    """Publish one poison of each kind: undecodable, against the schema, a fault of ours, and two that kill."""
    partition = arena.random.choice(arena.topology.all_partitions())
    for body in (_UNDECODABLE, _WRONG_SCHEMA):
        input_id = UUID(int=arena.random.getrandbits(128)).hex
        async with arena.load.paused:
            message = Message(body=body, message_id=input_id)
            await arena.bus.publish(arena.topology.inbound, str(partition), message)
            arena.load.note_raw(input_id)
        arena.poison.add(input_id)
    at = time.monotonic()
    for text in (RAISES, KILLS, KILLS_UNREAD):
        poisonous = await arena.load.say(text, partition=partition)
        arena.poison.add(poisonous.input_id())
    return Injection(at, {partition})


POISON = (
    Fault(name="poison_of_five_kinds", inject=five_kinds, layout=Layout(workers=3), quick=True, revived=True, rest=2.0),
)
