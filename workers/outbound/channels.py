"""The accounts that this process can send by."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentbus.contracts.address import Address
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.adapters.port import Capabilities, Outbound, Outcome, Streaming, Unknown
from agentbus.workers.concurrency import afterwards, raise_if_cancelled
from agentbus.workers.faults import told

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.factory import Connected

CONNECTIONS: Final = 100
"""Connections to platforms at a time."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """The way out of one account, and what its channel can do."""

    outbound: Outbound
    can: Capabilities


async def outcome_of(call: Awaitable[Outcome], **said: str) -> Outcome:
    """Return what became of a request; an adapter that fails leaves it unknown. `said` goes into the line of that."""
    try:
        return await call
    except Exception as error:
        raise_if_cancelled()
        _log.error(Action.ADAPTER_FAILED, **said, **told(error))
        return Unknown(f"the adapter failed: {type(error).__name__}")


ByAccount = Mapping[tuple[str, str], Way]
"""The ways out, by platform and account."""


def ways_of(accounts: "Iterable[Connected]", client: "AsyncClient") -> ByAccount:
    """Return the ways out of those accounts that have one. Raises ConfigurationError."""
    ways: dict[tuple[str, str], Way] = {}
    for one in accounts:
        outbound = one.channel.outbound(one.name, one.account, client) if one.channel.outbound else None
        if outbound is not None:
            ways[one.channel.name, one.name] = Way(outbound, one.channel.capabilities)
    return ways


class Ways:
    """The ways out, over one client whose connections they share; there are none before it is opened."""

    def __init__(self, make: "Callable[[AsyncClient], ByAccount]") -> None:
        self._make = make
        self._client: AsyncClient | None = None
        self._ways: ByAccount = {}

    async def open(self) -> None:
        """Make the ways out. Raises ConfigurationError."""
        # Imported when something is to be sent. No redirects are followed: what is sent goes where it was sent to.
        with importing_extras():
            from httpx import AsyncClient, Limits  # noqa: PLC0415 - only who sends needs it

        self._client = AsyncClient(follow_redirects=False, limits=Limits(max_connections=CONNECTIONS))
        self._ways = self._make(self._client)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        client, self._client, self._ways = self._client, None, {}
        if client is not None:
            await afterwards("close the connections to platforms", client.aclose())

    @property
    def showing(self) -> frozenset[str]:
        """The platforms on which people see that something is being written."""
        return frozenset(
            platform
            for (platform, _), way in self._ways.items()
            if way.can.streaming is not Streaming.COLLECTED or way.can.typing_seconds
        )

    def to(self, address: Address) -> Way | None:
        """Return the way to an address; None if its account is not one of this process."""
        return self._ways.get((address.platform.value, address.account))
