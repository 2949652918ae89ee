"""Traces: what caused what, from process to process, by W3C's `traceparent`; and, where that is wanted, as spans.

A trace context that came is passed on to what it causes, always. `agentbus.workers.delivery.spans` tells spans by
OpenTelemetry besides: it is imported when it is turned on, and until then nothing of OpenTelemetry is.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.ids import ConversationId, Partition

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})-[0-9a-f]{2}")

Contexts = AbstractContextManager[list[str | None]]
"""Gives what is done while the body runs its trace contexts, one for each."""

_cause: ContextVar[str | None] = ContextVar("agentbus_cause", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """An input that was committed or refused, and is to be announced and acknowledged. It has nothing that was said."""

    cause: str | None
    """The trace context that it came with."""
    arrived: float
    """When it came, by `monotonic`."""
    appended: tuple[float, float] | None
    """When its commit was begun, and when it was there; None if it was committed before, or not at all."""
    conversation: ConversationId
    partition: Partition
    session: str | None
    version: int
    events: int
    """What it caused."""
    failed: str | None = None
    """The code of the error that it failed with."""


class _CausedBy(AbstractContextManager[None]):
    """What is done while the body runs is caused by something. A class, not a generator: each event enters one."""

    __slots__ = ("_given", "_token")

    def __init__(self, cause: str | None) -> None:
        self._given = cause

    def __enter__(self) -> None:
        self._token = _cause.set(self._given)

    def __exit__(self, *_: object) -> None:
        _cause.reset(self._token)


class Traces:
    """Passes trace contexts on, and tells no spans. What tells spans does as is said here, and more."""

    on = False
    """Whether spans are told."""

    def current(self) -> str | None:
        """Return the trace context of what is being done here and now."""
        return _cause.get()

    def publishing(self, where: str, count: int) -> Contexts:  # noqa: ARG002 - for who tells spans
        """Publish to the exchange `where` while the body runs; give each of `count` messages its trace context."""
        return nullcontext([self.current()] * count)

    def handling(self, where: str, event: EventEnvelope) -> AbstractContextManager[None]:  # noqa: ARG002 - as above
        """Handle an event of the exchange `where` while the body runs: what is done meanwhile is caused by it."""
        return _CausedBy(event.traceparent)

    def sending(self, platform: str, cause: str | None) -> AbstractContextManager[None]:  # noqa: ARG002 - as above
        """Send something to a platform while the body runs, as `cause` has asked for."""
        return _CausedBy(cause)

    def serving(self, method: str, cause: str | None) -> AbstractContextManager[None]:  # noqa: ARG002 - as above
        """Answer a call by HTTP while the body runs: what is done meanwhile is caused by whoever called."""
        return _CausedBy(cause)

    def served(self, route: str, status: int) -> None:
        """Say of the call that is being served which route it took, and how it was answered."""

    def processing(self, where: str, events: str, inputs: Sequence[Processed]) -> Contexts:  # noqa: ARG002 - as above
        """Announce and acknowledge inputs while the body runs; give the trace contexts of what each has caused.

        `where` they were published, and where their `events` are.
        """
        return nullcontext([one.cause for one in inputs])


_wanted = [Traces()]


def traces() -> Traces:
    """Return what this process does about traces: what was asked for last, of what is still wanted."""
    return _wanted[-1]


@contextmanager
def using(wanted: Traces) -> Iterator[None]:
    """Have this process do something else about traces while the body runs: spans are a process's, as log lines are."""
    _wanted.append(wanted)
    try:
        yield
    finally:
        _wanted.remove(wanted)  # the last to begin is not always the first to end


def cause_in(header: str | None) -> str | None:
    """Return the trace context that a header gives; None for what is none, by W3C's rules."""
    found = _TRACEPARENT.fullmatch(header) if header else None
    if header is None or found is None or header.startswith("ff"):
        return None
    return header if int(found["trace_id"], 16) and int(found["span_id"], 16) else None


def trace_of(cause: str | None) -> dict[str, str]:
    """Return a trace context as a log line tells it: `trace_id` and `span_id`. Empty for none, or what is none."""
    found = _TRACEPARENT.fullmatch(cause) if cause else None
    return found.groupdict() if found else {}
