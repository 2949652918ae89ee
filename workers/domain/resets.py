"""When a conversation begins a new session although the last one has not ended: only where a policy says so.

A message is judged by when it was sent, not by when it came: one that waited in a queue while the hour or the idle
time passed still belongs to the session in which it was written. Of a clock that is ahead of ours no more is
believed than our own. If another message has reset the conversation meanwhile, it goes into the new session: it is
never dropped, and no session takes messages after its end.

The daily reset ends a session that *began* before the hour. Its last activity does not tell: what a nightly job or
a late message did just after the hour would put the reset off for a day, each day.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.messages import CommandContent, InboundMessage, MembershipContent, Spoken, TextContent
from agentbus.contracts.session import SessionState, SessionStatus

ResetReason = Literal["word", "daily", "idle"]
"""What made a conversation begin anew."""

_SECOND = timedelta(seconds=1)


def resets_now(
    policies: Iterable[ResetPolicy], state: SessionState, message: InboundMessage, now: datetime
) -> ResetReason | None:
    """Return why `message` is to begin a new session; None if it goes on with the one there is.

    The first policy for its platform and the session's type decides alone. Only what somebody says resets (an edit is
    about what was said before, and who joins says nothing), and a suspended session stays: a chat can't undo what an
    operator or a rule set.
    """
    content = message.content
    if not isinstance(content, Spoken) or isinstance(content, MembershipContent):
        return None
    if not state.is_live or state.status is SessionStatus.SUSPENDED:
        return None
    policy = next((policy for policy in policies if _is_for(policy, state, message)), None)
    if policy is None:
        return None
    sent = min(message.sent_at, now)
    if _is_word(policy, content):
        return "word"
    if _passed_the_hour(policy, state, sent):
        return "daily"
    return "idle" if _was_idle(policy, state, sent) else None


def _is_for(policy: ResetPolicy, state: SessionState, message: InboundMessage) -> bool:
    return (not policy.platforms or message.address.platform in policy.platforms) and (
        not policy.session_types or state.profile.session_type in policy.session_types
    )


def _is_word(policy: ResetPolicy, content: Spoken) -> bool:
    """Whether it is one of the policy's words: a text as a whole, a command by its name, whatever follows it."""
    if not isinstance(content, TextContent | CommandContent):
        return False
    said = f"/{content.name.removeprefix('/')}" if isinstance(content, CommandContent) else content.text
    return said.strip().casefold() in {word.strip().casefold() for word in policy.words}


def _was_idle(policy: ResetPolicy, state: SessionState, sent: datetime) -> bool:
    if policy.idle_minutes is None or state.last_activity is None:
        return False
    return sent - state.last_activity >= timedelta(minutes=policy.idle_minutes)


def _passed_the_hour(policy: ResetPolicy, state: SessionState, sent: datetime) -> bool:
    if policy.daily_hour is None or state.created_at is None or sent <= state.created_at:
        return False
    return state.created_at < _latest(policy.daily_hour, ZoneInfo(policy.time_zone), sent)


def _latest(hour: int, zone: ZoneInfo, moment: datetime) -> datetime:
    """Return when it was last `hour` o'clock in `zone`, at `moment` or before."""
    today = moment.astimezone(zone).date()
    # Tomorrow's too: clocks that are put back over midnight show the new day, and then the old one again. And those of
    # two days ago: a day may be left out.
    days = (_at_hour(today + timedelta(days=days), hour, zone) for days in (1, 0, -1, -2))
    return next(at for at in days if at is not None and at <= moment)


def _at_hour(day: date, hour: int, zone: ZoneInfo) -> datetime | None:
    """Return when it is `hour` o'clock on a day: the first time if it comes twice.

    If it is left out, as the clocks are put forward over it, the first moment after the gap; None if the whole day is,
    as where a zone changed to the other side of the date line: the next day has its own hour.
    """
    local = datetime.combine(day, time(hour), zone)
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first <= second:
        return first
    change = _change_between(second, first, zone)
    before = (change - _SECOND).astimezone(zone).date()
    return None if before < day < change.astimezone(zone).date() else change


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second in which `zone` has the offset that it has at `after`, and has not at `before`."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2 // _SECOND * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
