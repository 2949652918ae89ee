"""JSON lines: one `InboundMessage`, or one `InputEnvelope` that carries one, per line, as the published schemas say."""

from typing import Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import InvalidInput
from agentbus.contracts.messages import InboundMessage
from agentbus.workers.importers.port import Blank, Entry, HistoryFormat, Notice, Reader, Said
from agentbus.workers.importers.source import REFUSALS, Source

FORMAT: Final = HistoryFormat.JSONL


def read(source: Source) -> Reader:
    """Yield what each line is.

    Envelopes with commands are notices: a history holds what was said. An envelope's own id is let go; the message's
    `input_id()` takes its place, as in every other format. Blank lines are no entries. The account, the zone and the
    chat are those in the file.
    """
    for number, line in source.raw_lines():
        if not line.strip():
            yield Blank()
            continue
        try:
            yield _entry(line)
        except (*REFUSALS, InvalidInput) as error:
            yield source.not_understood(f"line {number}", error)


def _entry(line: bytes) -> Entry:
    """Return what a line is. Raises one of REFUSALS or InvalidInput."""
    try:
        loaded = json_in(line)
    except ValueError as error:
        raise ValueError(f"not JSON in UTF-8: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError("neither an inbound message nor an input envelope: not a JSON object")
    if "specversion" not in loaded:
        return Said(InboundMessage.model_validate_json(line))
    data = InputEnvelope.from_bytes(line).data
    return Said(data) if isinstance(data, InboundMessage) else Notice()
