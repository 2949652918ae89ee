"""`python -m tests.services install|up`: provide the programs that the tests start, or run private ones for a try."""

import argparse
import signal
import sys
import threading

from tests.services.choose import private_mongodb, private_rabbitmq
from tests.services.errors import ServiceError
from tests.services.install import install


def main() -> int:
    """Run the command line; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    parser.add_argument("action", choices=["install", "up"])
    action = parser.parse_args().action
    try:
        if action == "install":
            install(_say)
        else:
            _up()
    except ServiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _up() -> None:
    """Run a private broker and store until SIGTERM or Ctrl-C; print where they are, for a shell to read."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with private_rabbitmq() as broker, private_mongodb() as store:
        _say(f"export AGENTBUS_AMQP_URL='{broker.url}'")
        _say(f"export AGENTBUS_STORE_URL='{store.database_url('agentbus')}'")
        _say("# running until Ctrl-C; nothing is kept")
        stop.wait()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
