"""JSON lines: one `InboundMessage`, or one `InputEnvelope` that carries one, per line, as the published schemas say."""

from collections.abc import Generator
from typing import Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import InvalidInput
from agentbus.contracts.messages import InboundMessage
from agentbus.workers.importers.port import HistoryFormat
from agentbus.workers.importers.source import Source

FORMAT: Final = HistoryFormat.JSONL


def read(source: Source) -> Generator[InboundMessage, None, None]:
    """Yield the messages, line by line.

    Envelopes with commands are skipped: a history holds what was said. An envelope's own id is let go; the message's
    `input_id()` takes its place, as in every other format. Blank lines are no entries. The account, the zone and the
    chat are those in the file.
    """
    for number, line in source.raw_lines():
        if not line.strip():
            continue
        message = _parse(source, number, line)
        if message is None:
            source.skip()
        else:
            yield message


def _parse(source: Source, number: int, line: bytes) -> InboundMessage | None:
    where = f"line {number}"
    try:
        loaded = json_in(line)
    except ValueError as error:
        raise source.unreadable(f"not JSON in UTF-8: {error}", where) from error
    if not isinstance(loaded, dict):
        raise source.unreadable("neither an inbound message nor an input envelope: not a JSON object", where)
    if "specversion" not in loaded:
        with source.at(where):
            return InboundMessage.model_validate_json(line)
    try:
        data = InputEnvelope.from_bytes(line).data
    except InvalidInput as error:
        raise source.unreadable(str(error), where) from error
    return data if isinstance(data, InboundMessage) else None
