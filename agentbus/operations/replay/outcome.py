"""What became of what was published: read from the store alone, compared with the order of publishing."""

import asyncio
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from agentbus.contracts.history import HistoryMessage, SessionFilter
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.session import SessionState
from agentbus.operations.replay.journal import Cause, Journal
from agentbus.storage.history import iter_history
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked, iter_sessions


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
    causes: tuple[Cause, ...] = ()
    """Why inputs were parked."""


async def check(store: Store, journal: Journal) -> Outcome:
    """Read every conversation that inputs were published to out of the store, and say what became of the inputs.

    `lost`, `duplicated` and `reordered` are as `Journal.counts` says.
    """
    sessions = events = 0
    fingerprint = hashlib.sha256()
    async for parked in iter_parked(store, ParkedStatus.PARKED):
        journal.park(parked.message_id, parked.code, parked.reason)
    for conversation in journal.conversations():
        async for commit in iter_log(store, conversation):
            journal.commit(conversation, commit.applied)
        heads = [one async for one in iter_sessions(store, SessionFilter(conversation_id=conversation))]
        for session in sorted(heads, key=lambda one: one.generation):
            sessions += 1
            events += session.sequence
            fingerprint.update(_canonical(_session_print(session)))
            async for message in iter_history(store, session):
                fingerprint.update(_canonical(_message_print(message)))
    counts, causes = await asyncio.to_thread(lambda: (journal.counts(), journal.causes()))
    return Outcome(**asdict(counts), sessions=sessions, events=events, digest=fingerprint.hexdigest(), causes=causes)


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
