"""A worker as `agentbus worker KIND` runs it, which asks platforms sooner what became of a message: for short runs.

`python -m tests.channels.impatient KIND`.
"""

import sys
from datetime import timedelta

from agentbus.cli import main
from agentbus.workers.outbound import sending
from tests.harness.failpoints import patch

if __name__ == "__main__":
    # Not before a send that was under way has come to its end: 10 s at most.
    patch(sending, LONGEST_PAUSE=timedelta(seconds=2), SETTLING=timedelta(seconds=12))
    sys.argv = ["agentbus", "worker", *sys.argv[1:]]
    main()
