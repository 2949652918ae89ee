"""From a request of a platform to inputs that the broker has confirmed, and what the platform is told."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import BusError
from agentbus.contracts.messages import InboundMessage, UnsupportedContent
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.adapters.factory import Connected
from agentbus.workers.adapters.pace import Pace
from agentbus.workers.adapters.parsing import UNKNOWN, unsupported
from agentbus.workers.adapters.port import Answer, Inbound, Malformed, Receipt, Received, Request, Unverified
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics

CONFIRM_SECONDS: Final = 2.0
"""Seconds in which the broker is to confirm: Slack and Discord wait 3 s for an answer, and send again later."""

RETRY_SECONDS: Final = 5
"""What a platform is asked to wait before it sends again, where it asks."""

_GRACE: Final = 0.5
LINES_A_SECOND: Final = 0.1
"""Lines about what goes wrong with an account: the rest is only counted."""

_log = Logger(__name__)


class Outcome(StrEnum):
    """What became of a request; each is counted as one of these."""

    ACCEPTED = "accepted"
    """All that it says is confirmed."""
    UNKNOWN = "unknown"
    """There is no such account."""
    UNVERIFIED = "unverified"
    """It is not signed as the platform signs."""
    MALFORMED = "malformed"
    """It is signed, and nothing that the platform would send."""
    TOO_LARGE = "too_large"
    """It is larger than a request may be."""
    TOO_SLOW = "too_slow"
    """It did not come to an end in its time, or its sender went away."""
    TOO_MANY = "too_many"
    """The account sends more than it may: the platform is to come back later."""
    UNAVAILABLE = "unavailable"
    """The broker did not confirm, or the gateway is full or ending: the platform is to send it again."""


_STATUS: Final[Mapping[Outcome, int]] = {
    Outcome.UNKNOWN: 404,
    Outcome.UNVERIFIED: 401,
    Outcome.MALFORMED: 400,
    Outcome.TOO_LARGE: 413,
    Outcome.TOO_SLOW: 408,
    Outcome.TOO_MANY: 429,
    Outcome.UNAVAILABLE: 503,
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request, and what its sender is told."""

    outcome: Outcome
    answer: Answer

    @classmethod
    def refused(cls, outcome: Outcome) -> "Taken":
        """Tell the outcome, in a word: whoever is not the platform learns nothing else."""
        return cls(outcome, Answer(status=_STATUS[outcome], body=outcome.encode()))


Report = Callable[[Receipt], Input | None]
"""The command that tells a session what became of a message that it sent; None if nobody wants to know."""


@dataclass(slots=True)
class _Account:
    """An account at work."""

    channel: str
    name: str
    inbound: Inbound
    pace: Pace
    said: Pace = field(default_factory=lambda: Pace(LINES_A_SECOND))
    """Lines about requests that were refused: whoever floods us must not flood the log."""


class Intake:
    """Takes the requests of all accounts. What it publishes is safe to publish again: ids are the platforms' own."""

    def __init__(
        self,
        inputs: Inputs,
        accounts: Iterable[Connected],
        *,
        rate: float,
        metrics: WorkerMetrics | None = None,
        report: Report = lambda _receipt: None,
        confirm_within: float = CONFIRM_SECONDS,
    ) -> None:
        self._inputs = inputs
        self._metrics = metrics or WorkerMetrics()
        self._report = report
        self._within = confirm_within
        self._accounts = {
            (one.channel.name, one.name): _Account(
                one.channel.name, one.name, one.channel.inbound(one.name, one.account), Pace(rate)
            )
            for one in accounts
            if one.channel.inbound
        }

    def knows(self, channel: str, account: str) -> bool:
        """Whether there is such an account."""
        return (channel, account) in self._accounts

    async def take(self, channel: str, account: str, request: Request) -> Taken:
        """Verify and read a request of an account that is known, and have the broker confirm what it says."""
        known = self._accounts[channel, account]
        try:
            known.inbound.verify(request)
        except Unverified as error:
            return self._refused(known, Outcome.UNVERIFIED, str(error))
        except Exception as error:  # what can't be verified is not the platform's, whoever's adapter fails at it
            raise_if_cancelled()
            return self._refused(known, Outcome.UNVERIFIED, f"the adapter failed: {type(error).__name__}")
        if not known.pace.allows():
            return self._refused(known, Outcome.TOO_MANY, "more requests a second than the gateway is set to take")
        try:
            received = known.inbound.parse(request)
        except Malformed as error:
            return self._refused(known, Outcome.MALFORMED, str(error))
        except Exception as error:  # an adapter must not lose what a platform said, whatever is wrong with it
            raise_if_cancelled()
            _log.error(Action.CHANNEL_NOT_READ, channel=channel, account=account, error=type(error).__name__)
            received = Received(messages=(_kept_whole(known, request),))
        return await self._published(known, received)

    async def give(self, channel: str, account: str, received: Received) -> None:
        """Publish what a platform gave that was asked, and wait out the broker."""
        known = self._accounts[channel, account]
        if envelopes := self._envelopes(known, received):
            with self._inputs.on_their_way(envelopes) as left:
                await keep_trying("publish what a platform gave", self._inputs.publish, left)
        self._count(received)

    async def _published(self, known: _Account, received: Received) -> Taken:
        try:
            if envelopes := self._envelopes(known, received):
                with self._inputs.on_their_way(envelopes) as left:
                    await self._confirmed(left)
        except (BusError, TimeoutError) as error:
            raise_if_cancelled()
            return self._refused(known, Outcome.UNAVAILABLE, f"the broker did not confirm: {type(error).__name__}")
        self._count(received)
        return Taken(Outcome.ACCEPTED, received.answer)

    def _envelopes(self, known: _Account, received: Received) -> list[InputEnvelope]:
        """Return what was received, to be published: messages, and commands that report what became of ours."""
        inputs = [InputEnvelope(id=one.input_id(), source=_source(known), data=one) for one in received.messages]
        reports = [given for one in received.receipts if (given := self._report(one))]
        inputs += [InputEnvelope(id=given.id, source=_source(known), data=given.data) for given in reports]
        return inputs

    async def _confirmed(self, left: list[Routed]) -> None:
        """Publish, within the time that platforms wait. Raises BusError or TimeoutError."""
        async with asyncio.timeout(self._within + _GRACE):
            await self._inputs.publish(left, within=self._within)

    def _refused(self, known: _Account, outcome: Outcome, why: str) -> Taken:
        if known.said.allows():
            _log.warning(Action.CHANNEL_REFUSED, channel=known.channel, account=known.name, outcome=outcome, reason=why)
        return Taken.refused(outcome)

    def _count(self, received: Received) -> None:
        kept = sum(isinstance(one.content, UnsupportedContent) for one in received.messages)
        for what, count in (
            ("message", len(received.messages) - kept),
            ("unsupported", kept),
            ("receipt", len(received.receipts)),
            ("ignored", received.ignored),
        ):
            self._metrics.channel_events.labels(what).inc(count)


def _source(known: _Account) -> str:
    return f"/channels/{known.channel}/{known.name}"


def _kept_whole(known: _Account, request: Request) -> InboundMessage:
    """Return the message that keeps a whole request: an adapter failed to read it."""
    address = Address(platform=Platform(known.channel), account=known.name, chat=UNKNOWN, user=UNKNOWN)
    text = request.body.decode(errors="replace")
    return unsupported("not read", text, address=address, sent_at=request.received_at)
