"""What is to be done about a session next, as far as time alone decides: all that an expiry worker needs to know.

One rule at a time: of those whose turn has come, the one of the highest priority (of equal ones the first by id). A
rule's turn comes when its condition holds, or `warn_before` earlier. Its steps are counted from when the one before
was really taken, so that a worker that comes late does not take them all at once; and the first step never comes
earlier after the warning than the warning said.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.expiry import AFTER, CleanupAction, ExpiryProgress, ExpiryRule
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.expiry.matching import holds_at, is_for, lasts_from, moved

WARNING: Final = -1
"""The warning's number among the steps of a rule."""


@dataclass(frozen=True, slots=True)
class Later:
    """There is nothing to do before `at`, unless something happens."""

    at: datetime


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a rule will do to a session next: its turn comes at `begins`, the step is due at `due` (None: never)."""

    rule: ExpiryRule
    begins: datetime
    step: int
    due: datetime | None


def next_action(
    rules: Iterable[ExpiryRule], head: SessionState, now: datetime
) -> ExpireSession | ApplyDeadlines | Later | None:
    """Return the command to give now, or when to look again, or None: nothing unless something happens.

    A live session's own deadlines go before the rules. A session that has ended is left alone but for the later steps
    of the rule that ended it. Raises ConfigurationError as `holds_at` does.
    """
    if not head.is_live:
        return _after_the_end(rules, head, now)
    own = head.due_at
    if own is not None and own <= now:
        return ApplyDeadlines(session_id=head.session_id)
    found = _first_due(_turns(rules, head), now)
    if found is not None and found[1] <= now:
        return _command(found[0].rule, found[0].step, head, now)
    moments = [moment for moment in (own, found and found[1]) if moment is not None]
    return Later(min(moments)) if moments else None


def is_leaving(head: SessionState) -> bool:
    """Whether a rule has ended a session to move it to the archive, and it is not there yet."""
    ended = not head.is_live and head.status not in {SessionStatus.ARCHIVED, SessionStatus.DELETED}
    return ended and head.expiry is not None and head.expiry.action is CleanupAction.ARCHIVE


def _turns(rules: Iterable[ExpiryRule], head: SessionState) -> list[_Turn]:
    """Return the turns of the rules that hold for a session some time, the highest priority first."""
    turns: list[_Turn] = []
    for rule in sorted(rules, key=lambda rule: (-rule.priority, rule.rule_id)):
        holds = holds_at(rule, head) if is_for(rule, head) else None
        if holds is not None:
            turns.append(_turn(rule, *_course(rule, head, holds)))
    return turns


def _turn(rule: ExpiryRule, holds: datetime, progress: ExpiryProgress | None) -> _Turn:
    begins = _begins(rule, holds)
    if progress is None and rule.warn_before is not None:
        return _Turn(rule, begins, WARNING, begins)
    step = progress.step + 1 if progress else 0
    if step >= len(rule.actions):
        return _Turn(rule, begins, step, None)
    if step > 0 and progress:
        return _Turn(rule, begins, step, moved(progress.at, rule.actions[step].after))
    due = moved(holds, rule.actions[0].after)
    warned = moved(progress.at, rule.warn_before or 0.0) if progress else holds
    return _Turn(rule, begins, 0, max(due, warned) if due and warned else None)


def _course(rule: ExpiryRule, head: SessionState, holds: datetime) -> tuple[datetime, ExpiryProgress | None]:
    """Return since when `rule` holds for a live session, and how far it has come with it.

    What happened since its last step makes it begin anew, unless it would hold all the same: a session in use is
    warned of its age once. What ended a session that was restored since is over.
    """
    if _is_of(rule, head.expiry):
        return holds, head.expiry
    step = head.last_step
    if step is None or not _is_of(rule, step):
        return holds, None
    since = lasts_from(rule, head, step)
    if since is None or step.at < _begins(rule, since):  # it was another turn's: the rule was changed, or held before
        return holds, None
    return min(since, holds), step


def _is_of(rule: ExpiryRule, step: ExpiryProgress | None) -> bool:
    return step is not None and step.rule_id == rule.rule_id and not step.action.ends


def _begins(rule: ExpiryRule, holds: datetime) -> datetime:
    return holds if rule.warn_before is None else moved(holds, -rule.warn_before) or holds


def _first_due(turns: list[_Turn], now: datetime) -> tuple[_Turn, datetime] | None:
    """Return the turn in which something is done next, and when: until then, higher ones may still begin."""
    moment = now
    while turns:
        current = next((turn for turn in turns if turn.begins <= moment), None)
        turns = turns[: turns.index(current)] if current else turns
        overtaken = min((turn.begins for turn in turns), default=None)
        if current and current.due:
            due = max(current.due, moment)
            if overtaken is None or due < overtaken:
                return current, due
        moment = overtaken or moment
    return None


def _after_the_end(rules: Iterable[ExpiryRule], head: SessionState, now: datetime) -> ExpireSession | Later | None:
    progress = head.expiry
    if progress is None or not progress.action.ends or head.status is SessionStatus.DELETED:
        return None
    if is_leaving(head):
        return None  # nothing follows before it is there
    rule = next((rule for rule in rules if rule.rule_id == progress.rule_id and rule.enabled), None)
    later = range(progress.step + 1, len(rule.actions) if rule else 0)
    # Of a rule that was changed meanwhile, only what can still be done with a session that has ended.
    step = next((step for step in later if rule and rule.actions[step].action in AFTER[progress.action]), None)
    if rule is None or step is None:
        return None
    due = moved(progress.at, rule.actions[step].after)
    if due is None:
        return None
    return Later(due) if due > now else _command(rule, step, head, now)


def _command(rule: ExpiryRule, step: int, head: SessionState, now: datetime) -> ExpireSession:
    action = CleanupAction.NOTIFY if step == WARNING else rule.actions[step].action
    return ExpireSession(
        session_id=head.session_id,
        rule_id=rule.rule_id,
        step=step,
        action=action,
        seen=head.sequence,
        next_at=_following(rule, ExpiryProgress(rule_id=rule.rule_id, step=step, action=action, at=now), head),
    )


def _following(rule: ExpiryRule, taken: ExpiryProgress, head: SessionState) -> datetime | None:
    """Return when the step after `taken` will come, unless something happens."""
    if taken.step == WARNING:
        holds = holds_at(rule, head)
        return _turn(rule, holds, taken).due if holds else None
    following = rule.actions[taken.step + 1 :]
    return moved(taken.at, following[0].after) if following else None
