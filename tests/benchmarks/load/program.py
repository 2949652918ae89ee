"""`python -m tests.benchmarks.load.program`: the load process.

It reads a call a line from standard input, `{"call": "publish", ...arguments}`, and writes a line to standard output
for each: `{"value": ...}` or `{"error": "..."}`. It ends with its input.
"""

import asyncio
import json
import os
import sys
import traceback
from typing import TextIO

from tests.benchmarks.load.generator import Generator


async def serve(calls: TextIO, answers: TextIO) -> None:
    """Carry out calls, one after the other."""
    generator = Generator()
    while line := await asyncio.to_thread(calls.readline):
        arguments = json.loads(line)
        try:
            value = await getattr(generator, arguments.pop("call"))(**arguments)
            answer = {"value": value}
        except Exception:
            # The driver is told, and decides: this process serves its next call.
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    await generator.close()


def main() -> None:
    """Keep standard output for the protocol: whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        asyncio.run(serve(sys.stdin, answers))


if __name__ == "__main__":
    main()
