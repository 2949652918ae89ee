"""Bringing a conversation back through its owner: by commands, each of which is safe to give again."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from agentbus.contracts.base import MAX_INPUT_BYTES
from agentbus.contracts.commands import RestoreCommit, RestoreContent
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import ReplyTimeout, TooLarge
from agentbus.contracts.events import AnyEvent, MessageAppended, MessageDeleted, MessageEdited
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, digest_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.history import amended
from agentbus.workers.bus.port import UNCERTAIN
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.patience import Patience
from agentbus.workers.recovery.choosing import Choice
from agentbus.workers.recovery.comparing import Compared
from agentbus.workers.recovery.receipts import Filtered

_ASKING: Final = Patience(transient=(ReplyTimeout, *UNCERTAIN), seconds=60, longest_wait=2)
"""An owner that does not answer: it may just be starting, or be another one in a moment."""
_ANSWER: Final = 10.0
_MESSAGES: Final = 200
_BYTES: Final = 1 << 20
"""Of the messages in a command, about."""

_ENVELOPE: Final = 4096
"""Of what is around a command, at most."""
_FEW: Final = 3
"""Events that always have room: a text has 262,144 characters at most."""

_DATA: Final = "/data/"


class Bringing:
    """Gives the commands of one restore, `name`: the same ones if it is gone on with."""

    def __init__(self, commands: Inputs, name: str, *, preserve_metadata: bool) -> None:
        self._commands = commands
        self._name = name
        self._preserve = preserve_metadata

    async def commits(self, kept: Filtered, there: Compared) -> None:
        """Append the commits that the store lacks, one after the other.

        Raises TooLarge, having appended none, if there is one that no command has room for; Refused if something else
        happens there meanwhile; ReplyTimeout, BusError.
        """
        async with aclosing(self._missing(kept, there)) as commands:
            async for command in commands:
                check_room(command)
        async with aclosing(self._missing(kept, there)) as commands:
            async for command in commands:
                await self._ask(kept.conversation_id, command, "commit", str(command.commit.version))

    async def _missing(self, kept: Filtered, there: Compared) -> AsyncGenerator[RestoreCommit, None]:
        after, last = there.after, kept.held.version
        bare = _bare_heads(kept.heads, last)
        number = 0
        async with aclosing(kept.commits()) as commits:
            async for commit in commits:
                number += 1
                if commit.version > there.state.version:
                    now = commit.model_copy(update={"version": number}) if kept.held.has_gaps else commit
                    yield RestoreCommit(
                        restore=self._name,
                        commit=now,
                        after=InputId(after) if after else None,
                        heads=tuple(bare.get(commit.version, ())),
                    )
                after = commit.inputs[-1] if commit.inputs else after

    async def content(self, kept: Filtered, there: Compared, choice: Choice) -> None:
        """Bring what the backup has of a session into it. Raises as `commits` does."""
        head, now = choice.head, there.state
        earlier = head.generation < now.generation and head.session_id in there.sessions
        latest = now.session_id if not earlier else head.session_id
        number = 0
        if choice.replace or not _is_deleted(there, head):
            async with aclosing(_messages(kept, head)) as parts:
                async for messages in parts:
                    command = RestoreContent(
                        session_id=latest,
                        restore=self._name,
                        replace=choice.replace,
                        begins=not number,
                        messages=messages,
                    )
                    await self._ask(kept.conversation_id, command, latest, str(number))
                    number += 1
        ending = self._ending(head, there.sessions.get(latest, now), choice, is_latest=not earlier)
        last = RestoreContent(session_id=latest, restore=self._name, begins=not number, **ending)
        await self._ask(kept.conversation_id, last, latest, "last")

    async def awake(self, kept: Filtered, head: SessionState) -> None:
        """Let a session that came back whole count as active from now on, without its metadata."""
        data = {field: stamp for field, stamp in head.stamps.items() if field.startswith(_DATA)}
        profile = head.profile.model_copy(update={"tags": (), "expires_at": None})
        last = RestoreContent(
            session_id=head.session_id,
            restore=self._name,
            replace=True,
            status=head.status,
            profile=profile,
            data=head.data,
            stamps=data,
        )
        await self._ask(kept.conversation_id, last, head.session_id, "awake")

    def _ending(self, head: SessionState, now: SessionState, choice: Choice, *, is_latest: bool) -> dict[str, Any]:
        """Return what the last part says of a session."""
        live_now = now.status is not SessionStatus.DELETED and not choice.replace
        status = now.status if live_now and now.is_live else head.status
        if status.is_live and not is_latest:
            status = SessionStatus.EXPIRED
        stamps = dict(head.stamps)
        metadata, profile = head.metadata, head.profile if choice.replace or not live_now else None
        if not self._preserve:
            stamps = {field: stamp for field, stamp in stamps.items() if field.startswith(_DATA)}
            if choice.replace:
                stamps |= {field: stamp for field, stamp in now.stamps.items() if not field.startswith(_DATA)}
            metadata, profile = (now.metadata if choice.replace else {}), None
        return {
            "replace": choice.replace,
            "status": status,
            "profile": profile,
            "data": head.data,
            "metadata": metadata,
            "stamps": stamps,
        }

    async def _ask(self, conversation: ConversationId, command: RestoreCommit | RestoreContent, *what: str) -> None:
        given = Input(InputId(digest_of((self._name, conversation, *what))), command)
        await _ASKING.call(partial(self._commands.ask, given, to=conversation, timeout=_ANSWER))


def check_room(command: RestoreCommit) -> None:
    """Raise TooLarge for a commit with more bytes than a command may have."""
    if len(command.commit.events) < _FEW and not command.heads:
        return
    size = len(command.model_dump_json().encode())
    if size > MAX_INPUT_BYTES - _ENVELOPE:
        raise TooLarge(
            f"its commit {command.commit.version} takes {size} bytes, and no command may have more than "
            f"{MAX_INPUT_BYTES}: it can be restored to an empty store only"
        )


def _is_deleted(there: Compared, head: SessionState) -> bool:
    now = there.sessions.get(head.session_id)
    return now is not None and now.status is SessionStatus.DELETED


def _bare_heads(heads: Sequence[SessionState], last: int) -> Mapping[int, list[SessionState]]:
    """Return the heads that their events no longer tell, by the commit with which they come back."""
    found = defaultdict[int, list[SessionState]](list)
    for head in heads:
        if head.archive is not None or head.erased:
            found[min(head.version, last)].append(head)
    return found


async def _messages(kept: Filtered, head: SessionState) -> AsyncGenerator[tuple[MessageAppended, ...], None]:
    """Yield a session's messages as they read in the backup, oldest first, some at a time; deleted ones left out."""
    changes = await _changes(kept)
    some: list[MessageAppended] = []
    size = 0
    async with aclosing(kept.commits()) as commits:
        async for commit in commits:
            for event in commit.events:
                if not isinstance(event, MessageAppended) or not _is_shown(event, head):
                    continue
                read = amended(event, changes.get(event.message.key, ()))
                if read.deleted_at is not None:
                    continue
                one = event.model_copy(update={"message": read.message})
                took = len(one.model_dump_json())
                if some and (len(some) == _MESSAGES or size + took > _BYTES):
                    yield tuple(some)
                    some, size = [], 0
                some.append(one)
                size += took
    if some:
        yield tuple(some)


def _is_shown(event: MessageAppended, head: SessionState) -> bool:
    return event.session_id == head.session_id and event.sequence >= head.shown_from


async def _changes(kept: Filtered) -> Mapping[MessageKey, list[AnyEvent]]:
    """Return what became of messages later, by message."""
    found = defaultdict[MessageKey, list[AnyEvent]](list)
    async for commit in kept.commits():
        for event in commit.events:
            if isinstance(event, MessageEdited | MessageDeleted):
                found[event.target].append(event)
    return found
