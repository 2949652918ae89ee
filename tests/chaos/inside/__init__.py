"""What is put into a worker process to see and disturb it, so that the product itself has no failpoints."""

from typing import Final

ON_TRIAL: Final = ("-m", "tests.chaos.worker_main")
"""Arguments of Python that run a worker with instruments inside, once its kind is named too."""
