"""What became of what was published: read from the store alone, compared with the order of publishing."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentbus.client import Receipt
from agentbus.contracts.history import HistoryMessage, SessionFilter
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.session import SessionState
from agentbus.storage.history import iter_history
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked, iter_sessions
from agentbus.testing.tally import Tally, tally


@dataclass(slots=True)
class Outcome:
    """What the store says about the inputs of a replay."""

    committed: int = 0
    parked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    sessions: int = 0
    events: int = 0
    digest: str = ""

    def add(self, tally: Tally) -> None:
        """Add what became of the inputs of one conversation."""
        self.committed += len(tally.committed)
        self.parked += len(tally.parked)
        self.lost += len(tally.lost)
        self.duplicated += len(tally.duplicated)
        self.reordered += len(tally.reordered)


async def check(store: Store, receipts: Sequence[Receipt]) -> Outcome:
    """Read every conversation that `receipts` name out of the store, and say what became of their inputs.

    `lost`: neither committed nor parked. `duplicated`: committed more than once. `reordered`: committed after an
    input of the same conversation that was published later. An input that was published twice counts by its first
    time.
    """
    outcome = Outcome()
    parked = {parked.message_id async for parked in iter_parked(store, ParkedStatus.PARKED)}
    published: defaultdict[ConversationId, dict[InputId, None]] = defaultdict(dict)
    for receipt in receipts:
        published[receipt.conversation_id].setdefault(receipt.input_id)
    fingerprint = hashlib.sha256()
    for conversation in sorted(published):
        committed = [input_id async for commit in iter_log(store, conversation) for input_id in commit.applied]
        outcome.add(tally([(input_id, True) for input_id in published[conversation]], committed, parked=parked))
        sessions = [one async for one in iter_sessions(store, SessionFilter(conversation_id=conversation))]
        for session in sorted(sessions, key=lambda one: one.generation):
            outcome.sessions += 1
            outcome.events += session.sequence
            fingerprint.update(_canonical(_session_print(session)))
            async for message in iter_history(store, session):
                fingerprint.update(_canonical(_message_print(message)))
    outcome.digest = fingerprint.hexdigest()
    return outcome


def _session_print(session: SessionState) -> dict[str, Any]:
    """Return what the digest covers of a session: nothing that depends on when or where it was committed."""
    kept = {"conversation_id", "generation", "status", "message_count", "sequence", "data", "metadata", "address"}
    return session.model_dump(mode="json", include=kept)


def _message_print(message: HistoryMessage) -> dict[str, Any]:
    moments = {"edited_at", "deleted_at"}
    shown = message.model_dump(mode="json", exclude=moments)
    return shown | {moment: getattr(message, moment) is not None for moment in moments}


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
