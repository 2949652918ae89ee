"""What comes back to whoever asks, and which commands are handed over as they are."""

import asyncio
from unittest.mock import AsyncMock

import pytest
from pydantic import ValidationError

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import MAX_ID_LENGTH, MAX_INPUT_BYTES, MAX_INTEGER, MAX_TEXT_LENGTH
from agentbus.contracts.commands import AnyCommand, AppendMessage, CommandReply, SetData
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import ReplyTimeout, SessionNotFound
from agentbus.contracts.ids import ConversationId, InputId, Partition, SessionId
from agentbus.contracts.messages import Attachment, AttachmentKind, CommandContent, OutboundMessage, Spoken, TextContent
from agentbus.contracts.operators import Operator
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import CONVERSATION, address
from tests.harness.patience import PATIENCE

SESSION = SessionId(f"{CONVERSATION}.1")


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"command_id": 1}', b"\xff", b"[" * 100_000])
async def test_an_answer_that_cannot_be_read_is_none(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        monkeypatch.setattr(bus, "request", AsyncMock(return_value=answer))
        with pytest.raises(ReplyTimeout, match="retry with the same id"):
            await Inputs(bus).request(InputEnvelope(id="1", partitionkey=CONVERSATION, data=SetData()), timeout=1)


def append(content: Spoken, session: SessionId | None = SESSION) -> AppendMessage:
    return AppendMessage(session_id=session, address=address(), message=OutboundMessage(content=content))


async def was_handed_over(
    command: AnyCommand,
    *,
    to: ConversationId | None = None,
    command_id: str = "c",
    by: Operator | None = None,
    error: str | None = None,
) -> bool:
    """Send a command, answer it, and return whether it came as it was sent."""
    came: list[bool] = []
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()

        def answer(delivery: Delivery) -> None:
            came.append(delivery.handed is not None)
            told = {"code": error, "message": "no"} if error else None
            reply = CommandReply.model_validate({"command_id": "c", "error": told})
            answering.append(asyncio.create_task(bus.answer(delivery, reply)))

        answering: list[asyncio.Task[None]] = []
        await bus.consume(bus.topology.partition_queue(Partition(0)), answer, prefetch=1)
        asked = Inputs(bus, by=by).ask(Input(InputId(command_id), command), to=to, timeout=PATIENCE)
        try:
            assert (await asked).command_id == "c"
        finally:
            await asyncio.gather(*answering)
    return came == [True]


async def test_a_text_for_a_session_is_handed_over() -> None:
    assert await was_handed_over(append(TextContent(text="hello")))


@pytest.mark.parametrize(
    "command",
    [
        append(TextContent(text="hello", attachments=(Attachment(kind=AttachmentKind.IMAGE, uri="https://a/b"),))),
        append(CommandContent(name="help", arguments="")),
        append(TextContent(text="hello"), session=None),
        SetData(session_id=SESSION, values={"may": ["be", "changed"]}),
    ],
    ids=["attachments", "a command", "no session", "data"],
)
async def test_what_could_be_changed_or_be_too_large_is_written(command: AnyCommand) -> None:
    assert not await was_handed_over(command, to=None if command.session_id else CONVERSATION)


@pytest.mark.parametrize("command_id", ["", "a\nb", "\x00", "x" * (MAX_ID_LENGTH + 1), "\ud800"])
async def test_an_id_that_is_none_is_refused_where_it_is_written(command_id: str) -> None:
    with pytest.raises(ValidationError):
        await was_handed_over(append(TextContent(text="hello")), command_id=command_id)


async def test_an_id_in_another_script_is_written() -> None:
    assert not await was_handed_over(append(TextContent(text="hello")), command_id="id-\u00e9")


async def test_what_somebody_has_done_is_written_as_it_says_so() -> None:
    assert not await was_handed_over(append(TextContent(text="hello")), by=Operator(key="eve"))


async def test_a_refusal_is_raised_where_it_was_handed_over() -> None:
    with pytest.raises(SessionNotFound):
        await was_handed_over(append(TextContent(text="hello")), error=SessionNotFound.code)


def test_the_largest_that_is_handed_over_would_fit_into_an_input() -> None:
    """So nobody has to write it to find out."""
    longest = "\U0001f600" * MAX_ID_LENGTH
    where = Address(platform=Platform.TELEGRAM, account=longest, chat=longest, thread=longest, user=longest)
    said = OutboundMessage(
        address=where,
        message_id=longest,
        author="\x01" * MAX_ID_LENGTH,
        content=TextContent(text="\x01" * MAX_TEXT_LENGTH, reply_to=longest, album=longest),
    )
    command = AppendMessage(session_id=SESSION, address=where, actor=longest, fence=MAX_INTEGER, message=said)
    envelope = InputEnvelope(id=longest, source="\x01" * 2048, partitionkey=CONVERSATION, data=command)
    assert len(envelope.to_bytes()) < MAX_INPUT_BYTES / 2
