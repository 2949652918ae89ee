"""Where a web address leads, and whether notices may go there."""

import asyncio
import ipaddress
import socket
from typing import Final

from agentbus.workers.notify.notices import NotificationFailed
from agentbus.workers.notify.trying import NotYet

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


async def resolved(host: str, port: int, *, allow_private: bool) -> str:
    """Return an address of `host` that may be connected to: that one, as the next answer may be another.

    Raises NotificationFailed if one of its addresses is not of the public internet (loopback, private ranges, a cloud's
    metadata service) unless `allow_private`; NotYet if it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotYet(f"{host} is not known: {error}") from error
    addresses = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    if not addresses:
        raise NotYet(f"{host} has no address")
    if not allow_private and not all(map(is_public, addresses)):
        raise NotificationFailed(
            f"{host} leads to an address that is not of the public internet: allow it, if it is meant"
        )
    return str(addresses[0])


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, also the one that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast
