"""The load's messages as calls of the library: each made again, with the same id, until it returned."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.ids import ConversationId, InputId, SessionId, digest_of
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.workers.concurrency import side_by_side
from tests.chaos.embedded.programs import Answer, Gone, Program, Programs

READS: Final = 25.0
"""Seconds beyond its own time that a call may take for its reads: a pool or a thread is waited for, then the store."""

_LONGEST: Final = 240.0
_POLL: Final = 0.02
_CANCELLED_WITHIN: Final = 0.03


@dataclass(frozen=True, slots=True)
class Done:
    """A message that is kept: from the first call to the return of the last one."""

    conversation: ConversationId
    begun: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How calls are made, and how they may end."""

    call_timeout: float = 30.0
    errors: frozenset[str] = frozenset()
    """Codes of the errors that calls may end with."""
    cancelled: float = 0.0
    """The share of calls that are cancelled after up to some hundredths of a second."""
    published: float = 0.0
    """The share of messages that are published over the program's own bus instead."""


class Calls:
    """Makes the calls, one after the other within a conversation, and notes what is wrong with how they end."""

    def __init__(self, programs: Programs, terms: Terms, random: Random) -> None:
        self._programs = programs
        self._terms = terms
        self._random = random
        self.done: list[Done] = []
        self.failures: defaultdict[str, int] = defaultdict(int)
        """How many calls ended with each error."""
        self.problems: list[str] = []
        self.published: set[str] = set()
        """Ids of the messages that went over the bus."""

    async def begin(self, user: str, request_id: str) -> SessionId:
        """Create the session of a user."""
        return SessionId(str((await self._until_done("begin", user=user, request_id=request_id)).value))

    async def publish_many(self, messages: Sequence[InboundMessage]) -> None:
        """Have messages kept; return once all are. Raises Silent, TimeoutError."""
        groups: defaultdict[ConversationId, list[InboundMessage]] = defaultdict(list)
        for message in messages:
            groups[conversation_of(message)].append(message)
        await side_by_side(self._in_turn(key, group) for key, group in groups.items())

    def sent_as(self, message: InboundMessage) -> InputId:
        """Return the id under which a message is kept. It goes the same way each time."""
        if Random(message.message_id).random() < self._terms.published:
            return message.input_id()
        return InputId(digest_of(("append", session_of(message), message.message_id)))

    async def lock(self, program: Program, session: SessionId) -> Answer:
        """Acquire and release a session's lock, which goes to the store itself. Raises Gone, Silent."""
        answer = await program.ask("lock", within=10.0 + READS, session_id=session)
        self._judge("lock", answer, 10.0)
        return answer

    async def _in_turn(self, conversation: ConversationId, messages: Sequence[InboundMessage]) -> None:
        for message in messages:
            begun = time.monotonic()
            if self.sent_as(message) == message.input_id():
                await self._until_done("publish", message=message.model_dump(mode="json"))
            else:
                assert isinstance(message.content, TextContent)
                given = {"session_id": session_of(message), "message_id": message.message_id}
                await self._until_done("add", text=message.content.text, **given)
            self.done.append(Done(conversation, begun, time.monotonic()))

    async def _until_done(self, call: str, **given: object) -> Answer:
        async with asyncio.timeout(_LONGEST):
            while True:
                program = await self._any_program()
                cancelled_after = None
                if self._random.random() < self._terms.cancelled:
                    cancelled_after = self._random.uniform(0, _CANCELLED_WITHIN)
                try:
                    answer = await program.ask(
                        call, within=self._terms.call_timeout + READS, cancelled_after=cancelled_after, **given
                    )
                except Gone:
                    continue
                self._judge(call, answer, self._terms.call_timeout)
                if answer.error is None:
                    return answer

    async def _any_program(self) -> Program:
        while not (running := self._programs.running):
            await asyncio.sleep(_POLL)
        return self._random.choice(running)

    def _judge(self, call: str, answer: Answer, seconds: float) -> None:
        if answer.seconds > seconds + READS:
            self.problems.append(f"{call} took {answer.seconds:.1f} s, though it has {seconds:g}")
        if answer.error is None:
            return
        self.failures[answer.error] += 1
        if answer.error not in self._terms.errors and not (answer.error == "cancelled" and self._terms.cancelled):
            self.problems.append(f"{call} ended with {answer.error}: {answer.words}")


def conversation_of(message: InboundMessage) -> ConversationId:
    """Return the conversation of a message."""
    return conversation_id_for(message.address, Scope.PER_CHAT_USER)


def session_of(message: InboundMessage) -> SessionId:
    """Return the first session of a message's conversation: there is no other."""
    return SessionId(f"{conversation_of(message)}.1")
