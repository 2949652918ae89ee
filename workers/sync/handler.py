"""What the sync worker does with events: a session's own changes go to its linked sessions, once and no further."""

from collections.abc import Collection
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import (
    AnyEvent,
    ConflictResolved,
    ContextMerged,
    DataSet,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    SessionRestored,
    SessionStarted,
)
from agentbus.contracts.ids import conversation_of
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncMode, SyncPolicy
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.sync.fields import written
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.sync.contexts import to_copy
from agentbus.workers.sync.copies import Copies
from agentbus.workers.sync.exchange import Parcel, shared
from agentbus.workers.sync.meeting import Meeting
from agentbus.workers.sync.people.claims import Claims
from agentbus.workers.sync.people.identities import Identities
from agentbus.workers.sync.people.suggestions import Suggestions
from agentbus.workers.sync.policies import Policies
from agentbus.workers.sync.sending import Sender
from agentbus.workers.sync.tasks import SyncTasks

TOPICS: Final = (
    "session.started.*",
    "session.message.*",
    "session.edited.*",
    "session.deleted.*",
    "session.reply.*",
    "session.data.*",
    "session.metadata.*",
    "session.linked.*",
    "session.unlinked.*",
    "session.merged.*",
    "session.resolved.*",
    "session.restored.*",
)
"""The events that the handler is for."""


class SyncHandler(Handler):
    """Passes on what happens to linked sessions, hears claim codes, and notes who may be the same person."""

    def __init__(
        self,
        store: Store,
        commands: Inputs,
        policies: Policies,
        tasks: SyncTasks,
        *,
        identities: Identities,
        claims: Claims,
        suggestions: Suggestions,
        secret_keys: Collection[str] = SECRET_KEYS,
    ) -> None:
        self._store = store
        self._sender = Sender(store, commands)
        self._meeting = Meeting(store, commands, secret_keys=secret_keys)
        self._copies = Copies(store, commands, policies, identities)
        self._policies = policies
        self._tasks = tasks
        self._identities = identities
        self._claims = claims
        self._suggestions = suggestions
        self._secret_keys = secret_keys

    async def handle(self, event: EventEnvelope) -> None:
        happened = event.data
        if isinstance(happened, MessageAppended) and await self._claims.hear(happened):
            return
        if isinstance(happened, MessageEdited | MessageDeleted):
            await self._copies.follow(happened)
        if isinstance(happened, SessionStarted | MetadataSet):
            await self._suggestions.note(happened)
        if isinstance(happened, IdentityLinked):
            await self._identities.remember(happened.linked, conversation_of(happened.session_id))
            await self._meeting.introduce(happened, happened.linked, await self._policies.of(happened.linked))
        elif isinstance(happened, IdentityUnlinked):
            await self._meeting.agree(happened.event_id, happened.unlinked, await self._policies.of(happened.unlinked))
        elif happened.identity:
            await self._sync(happened, happened.identity)

    async def _sync(self, event: AnyEvent, identity: str) -> None:
        match event:
            case SessionStarted() | SessionRestored():  # which has missed what the others did meanwhile
                await self._meeting.introduce(event, identity, await self._policies.of(identity))
            case ContextMerged() if event.kept:
                await self._answer(event, identity)
            case DataSet() | MetadataSet() | ConflictResolved():
                await self._pass_on(event, identity)
            case MessageAppended() if event.source is None:
                await self._pass_on(event, identity)

    async def _pass_on(self, event: AnyEvent, identity: str) -> None:
        """Bring what a session wrote itself to the others: now, or when the policy's mode says so."""
        policy = await self._policies.of(identity)
        parcel = await self._parcel_of(event, identity, policy)
        if not (parcel.entries or parcel.messages):
            return
        # Who resolves a conflict asks for it to be over everywhere.
        if policy.mode is SyncMode.AUTOMATIC or isinstance(event, ConflictResolved):
            if not await self._sender.send([parcel], policy):
                await self._meeting.agree(event.event_id, identity, policy)
        elif policy.mode is not SyncMode.MANUAL:
            await self._tasks.put(event, policy)

    async def _parcel_of(self, event: AnyEvent, identity: str, policy: SyncPolicy) -> Parcel:
        said = [event] if isinstance(event, MessageAppended) and policy.history else []
        now = await to_copy(self._store, conversation_of(event.session_id), said) if said else []
        return Parcel(
            cause=event.event_id,
            identity=identity,
            source=event.session_id,
            entries=shared(policy, _written(event), self._secret_keys),
            messages=tuple(one.message for one in now),
            # Somebody chose, field by field: that is not to be weighed again, and is not all that is under a key.
            strategy=ConflictStrategy.MERGE if isinstance(event, ConflictResolved) else None,
        )

    async def _answer(self, event: ContextMerged, identity: str) -> None:
        """Tell a session that what it passed on was outranked, and by what."""
        policy = await self._policies.of(identity)
        entries = shared(policy, event.kept, self._secret_keys)
        parcel = Parcel(cause=event.event_id, identity=identity, source=event.session_id, entries=entries)
        await self._sender.send([parcel] if entries else [], policy, only=conversation_of(event.source))


def _written(event: AnyEvent) -> tuple[Entry, ...]:
    """Return the fields that a session wrote itself."""
    match event:
        case DataSet() | MetadataSet():
            return written(event)
        case ConflictResolved():
            return event.entries
        case _:
            return ()
