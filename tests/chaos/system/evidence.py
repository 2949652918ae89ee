"""What the checker reads: made of the traces of the workers; kept, if something is wrong."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbus.contracts.ids import ConversationId
from agentbus.testing import Evidence, Handling, Verdict
from tests.chaos.inside.trace import read_trace


@dataclass(slots=True)
class _Open:
    """A round that a worker has begun."""

    start: float
    epochs: dict[ConversationId, int]


def read_handlings(folder: Path, deaths: Mapping[str, float]) -> list[Handling]:
    """Read who handled what, when, from the traces in `folder`. `deaths` tells when each process was gone."""
    return [
        handling
        for file in sorted(folder.glob("*.trace"))
        for handling in _handlings(file.stem, read_trace(file), deaths.get(file.stem))
    ]


def keep_evidence(folder: Path, evidence: Evidence, verdict: Verdict) -> None:
    """Write what the checker read and decided beside the logs and traces of the workers."""
    (folder / "verdict.json").write_text(json.dumps(verdict.as_dict(), indent=2, default=str) + "\n", "utf-8")
    _lines(
        folder / "published.jsonl", ([one.conversation_id, one.input_id, one.confirmed] for one in evidence.published)
    )
    _lines(folder / "commits.jsonl", (one.model_dump(mode="json") for log in evidence.commits.values() for one in log))
    _lines(folder / "events.jsonl", (one.model_dump(mode="json") for one in evidence.events or ()))
    _lines(folder / "zombies.jsonl", ([one.worker, one.start, one.end] for one in evidence.zombies))
    _lines(folder / "parked.jsonl", (one.model_dump(mode="json") for one in evidence.parked))


def _handlings(worker: str, lines: list[dict[str, Any]], death: float | None) -> Iterator[Handling]:
    rounds: dict[int, _Open] = {}
    for line in lines:
        match line["kind"]:
            case "begin":
                rounds[line["round"]] = _Open(line["at"], dict.fromkeys(line["conversations"], 0))
            case "append":
                for one in rounds.values():
                    one.epochs |= {key: epoch for key, epoch in line["epochs"].items() if key in one.epochs}
            case "end":
                yield from _closed(worker, rounds.pop(line["round"]), line["at"])
            case "died":
                death = line["at"]
    for one in rounds.values():
        yield from _closed(worker, one, death)


def _closed(worker: str, one: _Open, end: float | None) -> Iterator[Handling]:
    for conversation, epoch in one.epochs.items():
        yield Handling(worker, conversation, one.start, end, epoch)


def _lines(path: Path, values: Any) -> None:
    path.write_text("".join(json.dumps(value, default=str) + "\n" for value in values), "utf-8")
