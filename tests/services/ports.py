"""Free TCP ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below Linux's range for outgoing connections (32768 and up): a client that reconnects while a service
# is down can't be given the service's own port, which would keep it from starting again.
_CANDIDATES = range(15_000, 30_000)


def free_port() -> int:
    """Choose a port on which nothing listens now. It is not reserved: use it soon."""
    generator = random.SystemRandom()
    while True:
        port = generator.choice(_CANDIDATES)
        if _can_bind(port):
            return port


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts connections on the port."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True
