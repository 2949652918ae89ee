"""Web chat, the way out: there is nothing to send.

A reply is in the log of its conversation before anybody is asked to send it, and every gateway shows the visitor what
is in the log, in its order, from where their window is. So `sent` means that it is there to be shown: whenever the
visitor looks, now or in a week, they see it once. What is being written gateways hear of themselves.
"""

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Outbound, Outcome, Sent


class WebChatOutbound(Outbound):
    """Says of everything that it is done: whoever asks has committed it. Repeating it changes nothing."""

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - see above
        return Sent(key)

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - see above
        return Sent(message_id)

    async def show(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - see above
        return Sent(key)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - see above
        return Sent(message_id)
