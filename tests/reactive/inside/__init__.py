"""What is inside a worker process on trial."""

from typing import Final

ON_TRIAL: Final = ("-m", "tests.reactive.inside.worker_main")
"""Arguments of Python that run a worker with failpoints, once its kind is named too."""
DETOUR: Final = {"REACTIVE_DETOUR": "1"}
"""The environment of a worker that gets its events on a detour."""
