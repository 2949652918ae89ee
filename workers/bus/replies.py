"""Where replies may go: to who asked, and nowhere else."""

from typing import Final

from agentbus.contracts.telemetry import Action
from agentbus.contracts.text import first_bytes
from agentbus.contracts.topology import Topology
from agentbus.storage.log_lines import Logger

_SHOWN: Final = 100

_log = Logger(__name__)


class ReplyAddresses:
    """Lets through the addresses that a reply may go to (`Topology.takes_reply`), and says once that another was asked.

    Once, as whoever may publish could otherwise fill the log.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._said = False

    def allowed(self, address: str | None, *, queue: str) -> str | None:
        """Return the address that came with a delivery of `queue`, or None if no reply may go there."""
        if not address:
            return None
        if self._topology.takes_reply(address):
            return address
        if not self._said:
            self._said = True
            _log.warning(Action.REPLY_ADDRESS_REFUSED, queue=queue, reply_to=first_bytes(address, _SHOWN))
        return None
