"""Claims: a code given out in one channel and sent from another proves that both are one person's."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter

from agentbus.contracts.base import DEFERRED
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import AppendMessage, UnlinkIdentity
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import IdentityConflict, Refused, ReplyTimeout, SessionNotFound
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import ConversationId, ConversationIdField, InputId, SessionId, conversation_of, digest_of
from agentbus.contracts.messages import OutboundMessage, Role, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.members import latest_session
from agentbus.workers.sync.people.codes import Heard, heard_in, is_proof, new_number, proof_of, written
from agentbus.workers.sync.people.identities import Identities
from agentbus.workers.sync.people.secret import Secret

VALID_FOR: Final = 600.0
"""Seconds for which a code can be used."""

KEPT_FOR: Final = timedelta(days=1)
"""How long a code is known after its time, so that whoever sends it late hears that it is out of date."""

_OUTCOME: Final = "outcome"
"""In a claim's record: how it failed."""
_NEW: Final = "new"
"""In a claim's record: the conversations that were linked to nobody before it."""
_CONVERSATIONS: Final = TypeAdapter[list[ConversationId]](list[ConversationIdField], config=DEFERRED)

_log = Logger(__name__)


class ClaimOutcome(StrEnum):
    """What became of a code that somebody sent."""

    LINKED = "linked"
    """Both conversations are one identity's now."""
    WRONG = "wrong"
    """No such code was given out, or its session is gone."""
    EXPIRED = "expired"
    """It was sent after its time."""
    USED = "used"
    """It has been used."""
    SAME_SESSION = "same_session"
    """It was sent in the conversation that it was given out in."""
    OTHER_IDENTITY = "other_identity"
    """Both are linked already, to different identities."""
    REFUSED = "refused"
    """The owner of one of the sessions refused the link."""


ANSWERS: Final = {
    ClaimOutcome.LINKED: "This chat and the one that your code is from are now linked.",
    ClaimOutcome.WRONG: "This code is not valid. Nothing was linked.",
    ClaimOutcome.EXPIRED: "This code is out of date. Nothing was linked: ask for a new one.",
    ClaimOutcome.USED: "This code has been used. Nothing was linked: ask for a new one.",
    ClaimOutcome.SAME_SESSION: "This is the chat that the code is from. Send it from the one you want to link.",
    ClaimOutcome.OTHER_IDENTITY: "Both chats are linked to somebody already, not to the same. Nothing was changed.",
    ClaimOutcome.REFUSED: "These chats can't be linked now. Ask for a new code and try again.",
}
"""What whoever sent a code is told."""


@dataclass(frozen=True, slots=True)
class ClaimCode:
    """A code that was given out: whoever sends it from another channel in time is taken for the same person."""

    code: str
    session_id: SessionId
    expires_at: datetime


class Claims:
    """Gives out claim codes, and links the conversations that they come from."""

    def __init__(self, store: Store, commands: Inputs, identities: Identities, secret: Secret, clock: Clock) -> None:
        self._store = store
        self._commands = commands
        self._identities = identities
        self._secret = secret
        self._clock = clock

    async def issue(self, session_id: SessionId, *, valid_for: float = VALID_FOR) -> ClaimCode:
        """Give out a code for a live session, to be used once within `valid_for` seconds.

        Show it to the session's user alone: whoever sends it is taken for them. Raises SessionNotFound, ValueError.
        """
        if not valid_for > 0:
            raise ValueError(f"a code is good for more than {valid_for:g} seconds")
        head = await self._store.heads.get(session_id)
        if head is None or not head.is_live:
            raise SessionNotFound(f"there is no live session {session_id}")
        now = self._clock.now()
        expires_at = now + timedelta(milliseconds=round(valid_for * 1000))
        while True:
            number = new_number()
            record = Record(
                kind=RecordKind.CLAIM_CODE,
                key=number,
                group=head.conversation_id,
                created_at=now,
                data={"session_id": session_id, "expires_at": expires_at.isoformat()},
                due_at=expires_at + KEPT_FOR,
            )
            if await self._store.records.put(record, replace=False):
                proof = proof_of(await self._secret.value(), number, session_id, expires_at)
                return ClaimCode(written(number, proof), session_id, expires_at)

    async def hear(self, event: MessageAppended) -> ClaimOutcome | None:
        """Take up the code that a user sent; None for a message that holds none. The same event again is no other.

        Whoever sent it is answered in their own chat, by a message of the assistant; a message that only looks like a
        code is passed over.
        """
        if event.source or event.message.role is not Role.USER:
            return None
        heard = heard_in(event.message.content)
        if heard is None:
            return None
        record = await self._store.records.get(RecordKind.CLAIM_CODE, heard.number)
        if record is None and not heard.asked:
            return None
        outcome = await self._claim(event, heard, record)
        if outcome is not None:
            _log.info(Action.CLAIM_HEARD, session_id=event.session_id, outcome=outcome)
            await self._answer(event, outcome)
        return outcome

    async def _claim(self, event: MessageAppended, heard: Heard, record: Record | None) -> ClaimOutcome | None:
        """Return what becomes of a code; None if an owner does not answer now, who links all the same when it does."""
        if record is None:
            return ClaimOutcome.WRONG
        issuer = SessionId(str(record.data["session_id"]))
        expires_at = datetime.fromisoformat(str(record.data["expires_at"]))
        right = proof_of(await self._secret.value(), heard.number, issuer, expires_at)
        if not is_proof(heard.proof, right):
            return ClaimOutcome.WRONG
        if conversation_of(issuer) == conversation_of(event.session_id):
            return ClaimOutcome.SAME_SESSION
        if event.at >= expires_at:
            return ClaimOutcome.EXPIRED
        both = conversation_of(issuer), conversation_of(event.session_id)
        taken = await self._take(heard.number, *both, due_at=record.due_at)
        if isinstance(taken, ClaimOutcome):
            return taken
        return await self._carry_out(taken, both)

    async def _carry_out(self, claim: Record, both: tuple[ConversationId, ConversationId]) -> ClaimOutcome | None:
        """Link both, or neither: what became of a claim that failed stays so for all repeats."""
        if _OUTCOME in claim.data:
            outcome: ClaimOutcome | None = ClaimOutcome(str(claim.data[_OUTCOME]))
        else:
            outcome = await self._link(claim, both)
            if outcome not in {ClaimOutcome.OTHER_IDENTITY, ClaimOutcome.REFUSED}:
                return outcome
            await self._store.records.put(claim.model_copy(update={"data": {**claim.data, _OUTCOME: outcome}}))
        await self._take_back(claim)
        return outcome

    async def _take(
        self, number: str, issuer: ConversationId, claimant: ConversationId, *, due_at: datetime | None
    ) -> Record | ClaimOutcome:
        """Use the code up for `claimant`, and settle which identity it links to, once and for all repeats."""
        kept = await self._store.records.get(RecordKind.CLAIM, number)
        if kept is None:
            theirs, ours = await latest_session(self._store, issuer), await latest_session(self._store, claimant)
            if not _is_there(theirs) or not _is_there(ours):
                return ClaimOutcome.WRONG
            if theirs.identity and ours.identity and theirs.identity != ours.identity:
                return ClaimOutcome.OTHER_IDENTITY
            identity = theirs.identity or ours.identity or digest_of(("claim", number))
            kept = Record(
                kind=RecordKind.CLAIM,
                key=number,
                group=claimant,
                created_at=self._clock.now(),
                data={
                    "conversation": claimant,
                    "identity": identity,
                    _NEW: [one.conversation_id for one in (theirs, ours) if one.identity is None],
                },
                due_at=due_at,
            )
            if not await self._store.records.put(kept, replace=False):
                kept = await self._store.records.get(RecordKind.CLAIM, number)
        if kept is None or kept.data["conversation"] != claimant:
            return ClaimOutcome.USED
        return kept

    async def _link(self, claim: Record, both: tuple[ConversationId, ConversationId]) -> ClaimOutcome | None:
        """Link those of both that were linked to nobody when the code was taken up.

        The other one was linked already: a command to do so would change nothing, and be carried out by a repeat if it
        was unlinked since. Once it is, there is nobody to link to.
        """
        identity = str(claim.data["identity"])
        new = _CONVERSATIONS.validate_python(claim.data.get(_NEW, both))
        if not await self._are_linked(identity, [one for one in both if one not in new]):
            return ClaimOutcome.USED
        await self._identities.describe(identity, None)
        unanswered = False
        for conversation in new:
            try:
                command_id = digest_of(("claim", claim.key, conversation))
                await self._identities.link_conversation(identity, conversation, command_id)
            except IdentityConflict:
                return ClaimOutcome.OTHER_IDENTITY
            except Refused:
                return ClaimOutcome.REFUSED
            except ReplyTimeout:
                unanswered = True  # The command is in the owner's queue.
        if unanswered:
            return None
        # A repeat links nobody anew who was unlinked since.
        return ClaimOutcome.LINKED if await self._are_linked(identity, both) else ClaimOutcome.USED

    async def _are_linked(self, identity: str, conversations: Collection[ConversationId]) -> bool:
        latest = [await latest_session(self._store, one) for one in conversations]
        return all(one.identity == identity for one in latest)

    async def _take_back(self, claim: Record) -> None:
        """Unlink what this claim linked before it failed: half a link tells nobody anything, and is in the way of the
        next claim.

        Also what it has not linked yet: the owner who did not answer in time has the command before this one.
        """
        identity = str(claim.data["identity"])
        for conversation in _CONVERSATIONS.validate_python(claim.data.get(_NEW, [])):
            session = await latest_session(self._store, conversation)
            command = UnlinkIdentity(session_id=session.session_id, identity=identity)
            with suppress(Refused, ReplyTimeout):
                key = InputId(digest_of(("claim taken back", claim.key, conversation)))
                await self._commands.ask(Input(key, command))

    async def _answer(self, event: MessageAppended, outcome: ClaimOutcome) -> None:
        """Tell whoever sent the code, if their conversation goes on."""
        session = await latest_session(self._store, conversation_of(event.session_id))
        if not session.is_live:
            return
        said = OutboundMessage(
            role=Role.ASSISTANT, address=event.message.address, content=TextContent(text=ANSWERS[outcome])
        )
        command = AppendMessage(session_id=session.session_id, message=said)
        with suppress(Refused, ReplyTimeout):
            await self._commands.ask(Input(InputId(digest_of(("claim answer", event.event_id))), command))


def _is_there(session: SessionState) -> bool:
    return session.generation > 0 and session.status is not SessionStatus.DELETED
