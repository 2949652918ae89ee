"""Programs of the tests end what they started, however they are ended."""

import os
import signal
import time
from pathlib import Path

from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT, started

PARENT = """
import time
from pathlib import Path

from tests.harness.processes import exit_on_sigterm, started

exit_on_sigterm()
with started("-c", "import time; time.sleep(600)", folder=Path(".")) as child:
    print("child", child.process.pid, flush=True)
    time.sleep(600)
"""


def test_sigterm_ends_what_a_program_started(tmp_path: Path) -> None:
    with started("-c", PARENT, folder=tmp_path, env={"PYTHONPATH": str(ROOT)}) as parent:
        parent.until_printed("\n")
        child = int(parent.output().split()[1])
        os.kill(child, 0)
        assert parent.stop() == 128 + signal.SIGTERM
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline, "the child is still there"
            time.sleep(0.02)
