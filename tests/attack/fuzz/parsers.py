"""All parsers of outside bytes."""

import asyncio
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiormq import spec
from pamqp.header import ContentHeader

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.errors import ArchiveDamaged, ConfigurationError, InvalidInput, StoreError
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, SessionId, session_id_for
from agentbus.contracts.messages import TextContent
from agentbus.sessions.config import ConfigManager
from agentbus.settings import CONCERNS, load_settings
from agentbus.storage.archive.format import Reader, lines_of
from agentbus.storage.factory import open_store
from agentbus.storage.paging import encode_cursor, position_of
from agentbus.workers.bus.rabbit.consumers import attempts_of, plain_headers
from agentbus.workers.bus.rabbit.decoding import unmarshal
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.domain.expiry.documents import parsed_rules
from agentbus.workers.erasure.records import texts_in
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, read_history
from agentbus.workers.sync.people.codes import heard_in, new_number, written
from tests.attack.crafted.contracts import Contracts
from tests.attack.crafted.properties import forged_headers, odd
from tests.attack.fuzz.parser import Parser, mangled
from tests.harness.builders import a_commit, a_conversation, a_head, a_key, a_parked, appended
from tests.harness.deliveries import Handed
from tests.harness.raw_amqp import content_header, short

_SAMPLES: Final = Path(__file__).parents[2] / "samples" / "histories"
_FILES: Final = {
    HistoryFormat.IRC: "irc/irssi.log",
    HistoryFormat.TELEGRAM: "telegram/result.json",
    HistoryFormat.WHATSAPP: "whatsapp/us_12h.txt",
    HistoryFormat.JSONL: "jsonl/messages.jsonl",
}
_SETTINGS: Final = {
    "partitions": "8",
    "publish_timeout": "1.5",
    "mongo_driver": "pymongo",
    "amqp_url": "amqp://u:p@h:1/v",
    "store_url": "mongodb://h/d",
    "reset_policies": '[{"words": ["/new"], "idle_minutes": 60, "daily_hour": 4, "time_zone": "Europe/Berlin"}]',
    "archive_options": '{"key": "k"}',
    "secret_keys": "a,b",
    "scope": "per_chat",
}
_CONVERSATION: Final[ConversationId] = a_conversation("fuzz")
_SESSION: Final[SessionId] = session_id_for(_CONVERSATION, 1)


def parsers(folder: Path) -> list[Parser]:
    """Return them all; those that read files have theirs in `folder`."""
    return [
        Parser("input envelope", _input, InputEnvelope.from_bytes, (InvalidInput,)),
        Parser("event envelope", _event, EventEnvelope.from_bytes, (InvalidInput,)),
        Parser("content header", _header, _read_header, ()),
        Parser("parked record", _header, _read_record, ()),
        Parser("archived session", _archived, _read_archived, (ArchiveDamaged,)),
        Parser("cursor", _cursor, lambda given: position_of("parked", given.decode("latin-1")), (ValueError,)),
        Parser("claim code", _code, _read_code, ()),
        Parser("settings", _settings, _read_settings, (ConfigurationError,)),
        Parser(
            "expiry rules", _rules, lambda given: parsed_rules(given.decode("latin-1"), "json"), (ConfigurationError,)
        ),
        Parser("session configuration", _config, _config_reader(folder), (ConfigurationError,)),
        Parser("texts of a parked body", _input, texts_in, ()),
        Parser("file store", _file, _store_reader(folder / "store"), (StoreError,)),
        *(_history(format_, folder) for format_ in _FILES),
        *_slack(folder),
    ]


def _input(random: Random) -> bytes:
    contracts = Contracts(random)
    kind = random.choice(contracts.kinds)
    return json.dumps(contracts.envelope(kind, conversation=_CONVERSATION, number=random.randrange(1000))).encode()


def _event(random: Random) -> bytes:
    return EventEnvelope.of(appended(_CONVERSATION, random.randint(1, 9), "m")).to_bytes()


def _header(random: Random) -> bytes:
    properties = odd(random) | {"message_id": short(b"m%d" % random.randrange(1000))}
    if random.random() < 0.3:
        properties["headers"] = forged_headers(random.randrange(1000))
    return content_header(1, properties, 10)[7:-1]


def _read_header(payload: bytes) -> ContentHeader:
    """Read a content header out of a frame; the broker sends none without its fixed beginning."""
    payload = payload[:14].ljust(14, b"\x00") + payload[14:100_000]
    frame = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    header = unmarshal(frame)[2]
    assert isinstance(header, ContentHeader)
    return header


def _read_record(payload: bytes) -> object:
    properties: spec.Basic.Properties = _read_header(payload).properties
    headers = plain_headers(properties.headers or {})
    delivery = Handed(
        payload,
        message_id=properties.message_id or "",
        attempts=attempts_of(headers, redelivered=True),
        headers=headers,
    )
    record = read_parked(delivery, SystemClock())
    record.model_dump_json()
    return record


def _archived(random: Random) -> bytes:
    head = a_head(_CONVERSATION, version=2, active=random.randrange(1000)).model_copy(update={"sequence": 2})
    commits = [a_commit(_CONVERSATION, n, events=[appended(_CONVERSATION, n, f"m{n}")]) for n in (1, 2)]

    async def lines() -> bytes:
        async def log() -> Any:
            for commit in commits:
                yield commit

        return b"".join([line async for line in lines_of(head, log())])

    return asyncio.run(lines())


def _read_archived(given: bytes) -> object:
    reader = Reader(_SESSION, "here")
    for line in given.splitlines(keepends=True):
        reader.feed(line)
    return reader.contents()


def _cursor(random: Random) -> bytes:
    return encode_cursor("parked", random.choice((0, -1, 2**62, 1_700_000_000_000)), f"p{random.random()}").encode()


def _code(random: Random) -> bytes:
    return f"{random.choice(('', '/link ', '/LINK '))}{written(new_number(), 'A' * 16)}".encode()


def _read_code(given: bytes) -> object:
    return heard_in(TextContent(text=given.decode("utf-8", "backslashreplace")[:200_000]))


def _settings(random: Random) -> bytes:
    return json.dumps({name: _SETTINGS[name] for name in random.sample(list(_SETTINGS), 3)}).encode()


def _read_settings(given: bytes) -> object:
    try:
        values = json.loads(given)
    except (ValueError, RecursionError):
        values = {"amqp_url": given.decode("latin-1")}
    known = {name for concern in CONCERNS for name in concern.model_fields}
    if not isinstance(values, dict):
        return None
    return load_settings(**{name: _as_variable(value) for name, value in values.items() if name in known})


def _as_variable(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _rules(random: Random) -> bytes:
    rule = {"strategy": "hybrid", "conditions": {"idle_for": 60, "max_age": 3600}, "actions": ["expire", "archive"]}
    return json.dumps({"rules": [rule | {"rule_id": f"r{number}"} for number in range(random.randint(1, 3))]}).encode()


def _read_rules(given: bytes) -> object:
    return parsed_rules(given.decode("latin-1"), "json")


def _config(random: Random) -> bytes:
    return json.dumps({"storage_type": random.choice(("memory", "sqlite")), "enable_sync": True}).encode()


def _config_reader(folder: Path) -> Callable[[bytes], object]:
    path = folder / "config.json"

    def read(given: bytes) -> object:
        path.write_bytes(given)
        return ConfigManager(path, environment={}).load()

    return read


def _file(random: Random) -> bytes:
    """Return which file is damaged, and how: a number on the first line, the seed of the damage on the second."""
    return b"%d\n%d" % (random.randrange(1000), random.randrange(10**9))


def _store_reader(folder: Path) -> Callable[[bytes], object]:
    whole = _whole_store(folder)

    def read(given: bytes) -> object:
        with _one_damaged(whole, given):
            return asyncio.run(_read_all(folder))

    return read


def _whole_store(folder: Path) -> dict[Path, bytes]:
    """Write a store with something of each kind; return its files."""

    async def write() -> None:
        async with open_store(f"file://{folder}") as store:
            commits = [a_commit(_CONVERSATION, n, events=[appended(_CONVERSATION, n, f"m{n}")]) for n in (1, 2)]
            for commit in commits:
                await store.log.append([commit])
            await store.heads.save([a_head(_CONVERSATION, version=2)])
            await store.parked.put(a_parked("p", body=b"body"))

    asyncio.run(write())
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size}


@contextmanager
def _one_damaged(whole: dict[Path, bytes], given: bytes) -> Iterator[None]:
    seed = Random(given)
    path = seed.choice(list(whole))
    path.write_bytes(given if seed.random() < 0.2 else mangled(whole[path], seed))
    try:
        yield
    finally:
        path.write_bytes(whole[path])


async def _read_all(folder: Path) -> object:
    """Call what reads files, each though the one before it failed."""
    async with open_store(f"file://{folder}") as store:
        calls = (
            store.parked.page,
            lambda: store.log.load([_CONVERSATION]),
            lambda: store.heads.get_many([_SESSION]),
            lambda: store.heads.page(SessionFilter()),
            lambda: store.log.read(_CONVERSATION, limit=10),
            lambda: store.log.commits_of_inputs(_CONVERSATION, [InputId("input-1")]),
            lambda: store.log.commits_amending(_CONVERSATION, [a_key("m1")]),
            lambda: store.heads.statistics(SessionFilter()),
        )
        read = 0
        for call in calls:
            with suppress(StoreError):
                await call()
                read += 1
        return read


def _history(format_: HistoryFormat, folder: Path) -> Parser:
    def examples(_: Random) -> bytes:
        return (_SAMPLES / _FILES[format_]).read_bytes()[:4000]

    def parse(given: bytes) -> object:
        with TemporaryDirectory(dir=folder) as place:
            path = Path(place) / "history"
            path.write_bytes(given)
            return list(read_history(path, format_))

    return Parser(f"history {format_}", examples, parse, (HistoryUnreadable,))


def _slack(folder: Path) -> list[Parser]:
    """Return what reads the export of a workspace: with wrong files in a sound zip, and a damaged zip."""

    def day(_: Random) -> bytes:
        return min((_SAMPLES / "slack" / "garden").glob("*.json")).read_bytes()

    def zipped(content: bytes) -> bytes:
        with BytesIO() as made:
            with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("users.json", (_SAMPLES / "slack" / "users.json").read_bytes())
                archive.writestr("channels.json", (_SAMPLES / "slack" / "channels.json").read_bytes())
                archive.writestr("garden/2024-01-01.json", content)
            return made.getvalue()

    def parse(given: bytes) -> object:
        with TemporaryDirectory(dir=folder) as place:
            path = Path(place) / "export.zip"
            path.write_bytes(given)
            return list(read_history(path, HistoryFormat.SLACK))

    return [
        Parser("history slack, a file", day, lambda given: parse(zipped(given)), (HistoryUnreadable,)),
        Parser("history slack, the zip", lambda random: zipped(day(random)), parse, (HistoryUnreadable,)),
    ]
