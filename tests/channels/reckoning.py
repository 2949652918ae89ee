"""What there is at the end, in sessions and at platforms, beside what was written: each message is accounted for."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.events import (
    AnyEvent,
    MessageAppended,
    ReplyFailed,
    ReplyReopened,
    ReplyRequested,
    ReplySent,
    ReplyUnknown,
)
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import MessageKey
from agentbus.contracts.messages import Role, SessionMessage, as_line
from agentbus.contracts.replies import ReplyId
from agentbus.contracts.topology import Topology
from agentbus.operations.replies import list_unknown
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_sessions
from tests.channels.crowd import Letter
from tests.platforms.model import FakePlatform, Taken
from tests.platforms.retries import RETRIES

ANSWER: Final = "re: "
"""What the bot's replies begin with; the rest is what it answers."""

_SHOWN: Final = 5
_PAGE: Final = 100
_COMMAND: Final = "/say "


@dataclass(slots=True)
class Reply:
    """A reply by the log."""

    text: str
    ended: str = "waiting"
    """What was told of it last: `sent`, `failed`, `unknown`, or that it waits."""
    maybe_doubled: bool = False


@dataclass(slots=True)
class Conversation:
    """What a conversation's log says, in its order."""

    said: list[str] = field(default_factory=list)
    replies: dict[ReplyId, Reply] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """What became of the messages of one channel."""

    written: int = 0
    refused: int = 0
    """Of which the platform told its writer that they did not come, as it posts nothing again."""
    repeats: int = 0
    """Posts that were taken beyond the first of each message."""
    replies: int = 0
    unknown: int = 0
    """Replies of which nobody knows, and that are listed."""
    doubled: int = 0
    """Replies that are at the platform twice, and marked."""
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    replies_lost: int = 0
    replies_reordered: int = 0
    replies_doubled_unmarked: int = 0
    mixed: int = 0
    """Messages in a conversation with those of somebody else."""
    misdirected: int = 0
    """Replies in somebody else's chat."""


COUNTED: Final = tuple(Row.__dataclass_fields__)
FAULTS: Final = COUNTED[COUNTED.index("lost") :]
"""What of it may not be."""


@dataclass(slots=True)
class Reckoning:
    """A row for each channel, and examples of what may not be."""

    rows: dict[str, Row]
    waiting: int = 0
    """Replies that are neither sent nor given up, or not asked for yet: it is too early to reckon."""
    examples: list[str] = field(default_factory=list)

    @property
    def total(self) -> dict[str, int]:
        """All channels together."""
        return {name: sum(getattr(row, name) for row in self.rows.values()) for name in COUNTED}


async def read(store: Store) -> list[Conversation]:
    """Return all conversations, by their logs."""
    heads = [head.conversation_id async for head in iter_sessions(store, SessionFilter())]
    found = []
    for conversation in dict.fromkeys(heads):
        one, said = Conversation(), dict[MessageKey, str]()
        async for commit in iter_log(store, conversation):
            for event in commit.events:
                _work_in(one, said, event)
        found.append(one)
    return found


async def listed(store: Store, topology: Topology) -> set[ReplyId]:
    """Return the replies that `agentbus replies list` shows, for somebody to decide about."""
    found: set[ReplyId] = set()
    cursor: str | None = None
    while True:
        page = await list_unknown(store, topology, SystemClock(), limit=_PAGE, cursor=cursor)
        found |= {one.reply_id for one in page.items}
        cursor = page.cursor
        if cursor is None:
            return found


def text_of(message: SessionMessage) -> str:
    """Return what was written, whatever the platform makes of it."""
    return as_line(message.content).removeprefix(_COMMAND)


def _work_in(one: Conversation, said: dict[MessageKey, str], event: AnyEvent) -> None:
    match event:
        case MessageAppended(message=message):
            text = said[message.key] = text_of(message)
            if message.role is Role.USER:
                one.said.append(text)
        case ReplyRequested():
            one.replies[event.reply_id] = Reply(said[event.message])
        case ReplySent(reply=reply, maybe_doubled=maybe_doubled):
            one.replies[reply].ended = "sent"
            one.replies[reply].maybe_doubled |= maybe_doubled
        case ReplyFailed(reply=reply):
            one.replies[reply].ended = "failed"
        case ReplyUnknown(reply=reply):
            one.replies[reply].ended = "unknown"
        case ReplyReopened(reply=reply):
            one.replies[reply].ended = "waiting"


def reckon(letters: Sequence[Letter], conversations: Sequence[Conversation], in_doubt: set[ReplyId]) -> Reckoning:
    """Compare what was written with what there is."""
    platforms = {letter.platform.name: letter.platform for letter in letters}
    told = Reckoning({name: Row() for name in platforms})
    said = Counter(text for one in conversations for text in one.said)
    for letter in letters:
        _reckon_letter(told, letter, said[letter.said.text])
    by_text = {letter.said.text: letter for letter in letters}
    there = {name: _by_text(platform) for name, platform in platforms.items()}
    for one in conversations:
        known = [by_text[text] for text in one.said if text in by_text]
        for letter in known:
            if (letter.platform, letter.said.user) != (known[0].platform, known[0].said.user):
                _note(told, letter.platform, "mixed", f"{letter.said.text!r} is beside {known[0].said.text!r}")
        for letter in _overtaken(known):
            _note(told, letter.platform, "reordered", f"{letter.said.text!r} is behind what was written after it came")
        if known:
            _reckon_replies(told, known[0].platform, one, there[known[0].platform.name], in_doubt)
    for platform in platforms.values():
        _reckon_chats(told, platform)
    return told


def _reckon_letter(told: Reckoning, letter: Letter, times: int) -> None:
    row = told.rows[letter.platform.name]
    row.written += 1
    row.repeats += letter.repeats
    if letter.accepted == inf and not RETRIES[letter.platform.name]:
        row.refused += 1
    elif not times:
        _note(told, letter.platform, "lost", f"{letter.said.text!r} is in no session, {_taken(letter)}")
    if times > 1:
        _note(told, letter.platform, "duplicated", f"{letter.said.text!r} is there {times} times")


def _taken(letter: Letter) -> str:
    return "though it was taken" if letter.accepted < inf else "and the platform gave up"


def _overtaken(letters: Sequence[Letter]) -> Iterator[Letter]:
    """Yield those that stand behind one that was begun only after they were taken."""
    latest = -inf
    for letter in letters:
        if letter.accepted < latest:
            yield letter
        latest = max(latest, letter.begun)


def _by_text(platform: FakePlatform) -> Mapping[str, list[Taken]]:
    found: defaultdict[str, list[Taken]] = defaultdict(list)
    for one in platform.taken:
        found[one.text].append(one)
    return found


def _reckon_replies(
    told: Reckoning,
    platform: FakePlatform,
    one: Conversation,
    there: Mapping[str, list[Taken]],
    in_doubt: set[ReplyId],
) -> None:
    row = told.rows[platform.name]
    row.replies += len(one.replies)
    asked = Counter(reply.text for reply in one.replies.values())
    told.waiting += sum(not asked[f"{ANSWER}{text}"] for text in one.said)
    for text, count in asked.items():
        if count > 1:
            _note(told, platform, "replies_doubled_unmarked", f"{text!r} was asked for {count} times")
    for reply_id, reply in one.replies.items():
        _reckon_reply(told, platform, reply, len(there.get(reply.text, ())), listed=reply_id in in_doubt)
    order = [int(there[reply.text][0].message_id) for reply in one.replies.values() if reply.text in there]
    if order != sorted(order):
        _note(told, platform, "replies_reordered", f"those to {one.said[0]!r} and what follows it")


def _reckon_reply(told: Reckoning, platform: FakePlatform, reply: Reply, times: int, *, listed: bool) -> None:
    row = told.rows[platform.name]
    match reply.ended:
        case "waiting":
            told.waiting += 1
        case "unknown" if listed:
            row.unknown += 1
        case "unknown":
            _note(told, platform, "replies_lost", f"{reply.text!r} is unknown, and is not listed")
        case "failed":
            _note(told, platform, "replies_lost", f"{reply.text!r} failed, though nobody refused it")
        case _ if not times:
            _note(told, platform, "replies_lost", f"{reply.text!r} was sent, and is not at the platform")
    if times > 1 and reply.maybe_doubled:
        row.doubled += 1
    elif times > 1:
        _note(told, platform, "replies_doubled_unmarked", f"{reply.text!r} is at the platform {times} times")


def _reckon_chats(told: Reckoning, platform: FakePlatform) -> None:
    """See that what is in a chat answers one person, and what answers a person is in one chat."""
    chats: dict[str, str] = {}
    for one in platform.taken:
        person = one.text.removeprefix(f"{ANSWER}{platform.name} ").partition(" ")[0]
        if chats.setdefault(one.chat, person) != person or chats.setdefault(f"of {person}", one.chat) != one.chat:
            _note(told, platform, "misdirected", f"{one.text!r} is in the chat {one.chat}")


def _note(told: Reckoning, platform: FakePlatform, fault: str, example: str) -> None:
    row = told.rows[platform.name]
    setattr(row, fault, getattr(row, fault) + 1)
    if getattr(row, fault) <= _SHOWN:
        told.examples.append(f"{platform.name}: {fault}: {example}")
