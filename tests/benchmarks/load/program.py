"""`python -m tests.benchmarks.load.program`: the load process.

It reads a call a line from standard input, `{"call": "publish", ...arguments}`, and writes a line to standard output
for each: `{"value": ...}` or `{"error": "..."}`. Between the calls it takes events. It ends with its input.
"""

import gc
import json
import os
import sys
import traceback
from typing import TextIO

from tests.benchmarks.load.generator import Generator


def serve(calls: TextIO, answers: TextIO) -> None:
    """Carry out calls, one after the other."""
    generator = Generator()
    while True:
        failed: Exception | None = None
        try:
            generator.watch(calls)
        except Exception as error:  # told with the next call
            generator.drop()
            failed = error
        if not (line := calls.readline()):
            break
        try:
            if failed is not None:
                raise failed
            arguments = json.loads(line)
            answer = {"value": getattr(generator, arguments.pop("call"))(**arguments)}
        except Exception:
            # The driver is told, and decides: this process serves its next call.
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    generator.close()


def main() -> None:
    """Keep standard output for the protocol: whatever else is printed goes to standard error."""
    gc.disable()  # nothing here makes cycles, and a collection would be seen as the latency of whoever is measured
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
