"""A reply that is written part by part: what it reads so far is told as it grows, and said in the end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Generic, TypeVar

from agentbus.contracts.address import Address
from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.commands import CommandReply
from agentbus.contracts.errors import AgentBusError, LimitExceeded, Refused
from agentbus.contracts.writing import TELL_EVERY, Writing, told_of
from agentbus.workers.concurrency import afterwards, ended, passing_over, raise_if_cancelled

Tell = Callable[[Writing], Awaitable[object]]
"""Has it announced what a reply reads that is being written."""

Said = TypeVar("Said", bound=CommandReply)
Say = Callable[[str], Awaitable[Said]]
"""Sends the reply, once it is written."""

_EVERY: Final = 0.5
"""Seconds between two times that it is told what a reply reads."""
_UNHEARD: Final = 2
"""Times in a row that nobody answered, after which nothing more is told."""
_SOON: Final = 0.5
"""Seconds after which a handler is seen at work."""
_LONG: Final = 300.0
"""Seconds after which one is not seen at work any more: it hangs, for all that people can tell."""
_GIVING_UP: Final = 2.0
"""Seconds for which it is tried to tell that a reply was given up."""


class WrittenReply(Generic[Said]):
    """A reply that is being written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._news = asyncio.Event()
        self.sent: Said | None = None
        """What came back when it was said; None if there was nothing to say."""

    @property
    def text(self) -> str:
        """What was written until now."""
        if len(self._parts) > 1:
            self._parts[:] = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    async def write(self, part: str) -> None:
        """Add a part. It waits for nobody: what is told meanwhile is told by itself.

        Raises LimitExceeded if the reply would be longer than a message may be.
        """
        self._length += len(part)
        if self._length > MAX_TEXT_LENGTH:
            raise LimitExceeded(f"a reply has at most {MAX_TEXT_LENGTH} characters")
        self._parts.append(part)
        self._news.set()

    async def news(self, *, within: float) -> None:
        """Wait until more was written, or `within` seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._news.wait()
        self._news.clear()


class Telling:
    """Tells what a reply reads, beside whoever writes it: at its pace, best effort, and again while it goes on."""

    def __init__(self, tell: Tell, writing_id: str, to: Address | None) -> None:
        self._tell = tell
        self._id = writing_id
        self._to = to
        self._unheard = 0
        self.told = False
        """Whether anything was told, or may have been."""

    async def keep(self, written: WrittenReply[Said]) -> None:
        """Tell, from the first word on, until cancelled. Ends by itself once nobody wants to hear it."""
        while not written.text.strip():
            await written.news(within=TELL_EVERY)
        while await self.once(told_of(written.text)):
            await asyncio.sleep(_EVERY)
            await written.news(within=TELL_EVERY)

    async def once(self, text: str = "") -> bool:
        """Tell what it reads now; return whether there is any use in telling more."""
        try:
            await self._tell(Writing(id=self._id, to=self._to, text=text))
        except Refused:
            return False  # the session is over
        except AgentBusError:
            raise_if_cancelled()
            self._unheard += 1  # session workers of an earlier release answer nothing
            return self._unheard < _UNHEARD
        finally:
            self.told = True  # it may have been, also where nobody answered
        self._unheard = 0
        return True

    async def give_up(self) -> None:
        """Tell that nothing comes of it, if anything was told. Best effort: who shows it finds out by itself."""
        if self.told:
            with passing_over(AgentBusError, TimeoutError):
                async with asyncio.timeout(_GIVING_UP):
                    await self._tell(Writing(id=self._id, to=self._to, over=True))


class AtWork:
    """Tells that handlers are at work on answers, so that people see it; and that they are not any more."""

    def __init__(self) -> None:
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def while_at_work(self, telling: Telling) -> AsyncGenerator[None, None]:
        """Tell so for as long as the block takes, up to a bound. It is neither delayed by this nor does it fail."""
        task = asyncio.create_task(self._tell(telling), name="tell that a handler is at work")
        try:
            yield
        finally:
            await ended([task])
            if telling.told:
                ending = asyncio.create_task(telling.give_up(), name="tell that a handler is done")
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End what is still being told. Idempotent."""
        await ended(self._ending)

    @staticmethod
    async def _tell(telling: Telling) -> None:
        await asyncio.sleep(_SOON)  # who answers at once need not be seen at work
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONG):
                while await telling.once():  # noqa: ASYNC110 - there is nothing to wait for but time
                    await asyncio.sleep(TELL_EVERY)


@asynccontextmanager
async def written(telling: Telling, say: Say[Said]) -> AsyncGenerator[WrittenReply[Said], None]:
    """Give a reply to be written, tell what it reads meanwhile, and say it when the block ends.

    Nothing is said if the block raises, or nothing was written. Raises as `say` does.
    """
    reply = WrittenReply[Said]()
    task = asyncio.create_task(telling.keep(reply), name="tell what is being written")
    said = False
    try:
        yield reply
        await ended([task])
        if text := reply.text.strip():
            reply.sent = await say(text)
            said = True
    finally:
        await ended([task])
        if not said:
            await afterwards("give up a reply", telling.give_up(), within=_GIVING_UP)
