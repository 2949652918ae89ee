"""What is inside a worker process on trial."""

from typing import Final

READY: Final = "ready for the trial"
"""What a worker prints once it works."""
