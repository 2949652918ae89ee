"""Builders of contracts for tests: sensible values, each of which can be set."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from pydantic import JsonValue

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    DataSet,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    SessionStarted,
    StartReason,
)
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, Partition, digest_of, session_id_for
from agentbus.contracts.members import Member, WorkerId, WorkerStatus
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.parked import ParkedInput, parked_id_for
from agentbus.contracts.session import SessionState, SessionStatus

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

_numbers = count(1)


def a_conversation(name: str | None = None) -> ConversationId:
    """Return a conversation id: of a name, or a new one."""
    return ConversationId(digest_of(("test", name or f"unnamed-{next(_numbers)}")))


def an_address(*, chat: str = "chat", user: str = "user", platform: Platform = Platform.TELEGRAM) -> Address:
    """Return an address on a platform."""
    return Address(platform=platform, chat=chat, user=user)


def a_moment(seconds: float = 0) -> datetime:
    """Return noon and so many seconds."""
    return NOON + timedelta(seconds=seconds)


def a_commit(
    conversation: ConversationId,
    version: int = 1,
    *,
    inputs: Sequence[str] | None = None,
    events: Sequence[AnyEvent] = (),
    epoch: int = 0,
) -> Commit:
    """Return a commit; its input is `input-<version>` unless others, or none, are given."""
    ids = (f"input-{version}",) if inputs is None else inputs
    return Commit(
        conversation_id=conversation,
        version=version,
        epoch=epoch,
        at=a_moment(version),
        inputs=tuple(InputId(name) for name in ids),
        events=tuple(events),
    )


def a_head(
    conversation: ConversationId,
    *,
    generation: int = 1,
    version: int = 1,
    active: float = 0,
    address: Address | None = None,
    status: SessionStatus = SessionStatus.ACTIVE,
    data: dict[str, JsonValue] | None = None,
    first_version: int = 1,
) -> SessionState:
    """Return a head whose last activity was `active` seconds after noon."""
    return SessionState(
        conversation_id=conversation,
        generation=generation,
        version=version,
        first_version=first_version,
        status=status,
        address=address or an_address(),
        data=data or {},
        created_at=NOON,
        last_activity=a_moment(active),
    )


def a_key(name: str) -> MessageKey:
    """Return the key of a message named `name`."""
    return MessageKey(f"key-{name}")


def begun(conversation: ConversationId, *, generation: int = 1) -> SessionStarted:
    """Return the event that a session began."""
    return SessionStarted(
        session_id=session_id_for(conversation, generation),
        sequence=1,
        at=NOON,
        cause=InputId(f"begin-{generation}"),
        reason=StartReason.MESSAGE,
        address=an_address(),
    )


def appended(conversation: ConversationId, sequence: int, name: str, *, generation: int = 1) -> MessageAppended:
    """Return the event of a message named `name` that says `says <name>`."""
    message = SessionMessage(
        key=a_key(name),
        message_id=name,
        role=Role.USER,
        address=an_address(),
        author="Ann",
        sent_at=NOON,
        content=TextContent(text=f"says {name}"),
    )
    return MessageAppended(
        session_id=session_id_for(conversation, generation),
        sequence=sequence,
        at=a_moment(sequence),
        cause=InputId(f"cause-{name}"),
        platform=Platform.TELEGRAM,
        message=message,
    )


def edited(conversation: ConversationId, sequence: int, name: str, text: str, *, generation: int = 1) -> MessageEdited:
    """Return the event that a message says `text` now."""
    return MessageEdited(
        session_id=session_id_for(conversation, generation),
        sequence=sequence,
        at=a_moment(sequence),
        cause=InputId(f"edit-{name}"),
        platform=None,
        target=a_key(name),
        text=text,
    )


def deleted(conversation: ConversationId, sequence: int, name: str) -> MessageDeleted:
    """Return the event that a message was deleted."""
    return MessageDeleted(
        session_id=session_id_for(conversation, 1),
        sequence=sequence,
        at=a_moment(sequence),
        cause=InputId(f"delete-{name}"),
        platform=None,
        target=a_key(name),
    )


def reacted(
    conversation: ConversationId, sequence: int, name: str, reaction: str, *, user: str = "user", removed: bool = False
) -> ReactionChanged:
    """Return the event that a reaction was added to a message, or taken away."""
    return ReactionChanged(
        session_id=session_id_for(conversation, 1),
        sequence=sequence,
        at=a_moment(sequence),
        cause=InputId(f"react-{name}"),
        platform=None,
        target=a_key(name),
        user=user,
        reaction=reaction,
        removed=removed,
    )


def data_set(conversation: ConversationId, sequence: int, values: dict[str, JsonValue]) -> DataSet:
    """Return the event that data was set."""
    return DataSet(
        session_id=session_id_for(conversation, 1),
        sequence=sequence,
        at=a_moment(sequence),
        cause=InputId("set"),
        platform=None,
        values=values,
    )


def a_parked(
    name: str = "bad",
    *,
    at: float = 0,
    attempts: int = 1,
    reason: str = "it is bad",
    conversation: ConversationId | None = None,
    body: bytes | None = None,
) -> ParkedInput:
    """Return an input that was parked so many seconds after noon; by default one that is not JSON."""
    body = name.encode() + b"\x00\xff{" if body is None else body
    return ParkedInput(
        parked_id=parked_id_for(name, body),
        message_id=name,
        conversation_id=conversation,
        queue="agentbus.inbound.0",
        code="undecodable",
        reason=reason,
        attempts=attempts,
        parked_at=a_moment(at),
        body=body,
    )


def a_member(
    name: str = "worker", *, status: WorkerStatus = WorkerStatus.RUNNING, owns: Sequence[int] = (), host: str = "host"
) -> Member:
    """Return a worker that says where it is and what it owns."""
    return Member(
        worker_id=WorkerId(name),
        host=host,
        pid=4711,
        started_at=NOON,
        status=status,
        owns=tuple(Partition(number) for number in owns),
    )
