"""`python -m tests.benchmarks.library`: measure, print a table, draw a picture, and one JSON object as last line."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.library.contenders import CONTENDERS
from tests.benchmarks.library.environment import kept_environment, make_environment, versions_in
from tests.benchmarks.library.measure import FULL, QUICK, Stage, measure
from tests.benchmarks.library.report import RESULTS, draw, figures, table
from tests.harness.program import parser, run, say, screen, some_of, tell
from tests.harness.results import machine, write_results
from tests.services import private_mongodb, private_rabbitmq, private_redis


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all ways, or those asked for; return 0. A full run of all is kept."""
    asked = parser("benchmarks.library", __doc__, quick="in under three minutes")
    known = {one.name: one for one in CONTENDERS}
    asked.add_argument("--only", type=some_of(known), default=list(CONTENDERS), help="these alone, with commas between")
    asked.add_argument("--python", type=Path, help="the Python of an environment that has the other libraries")
    given = asked.parse_args(arguments)
    sizes = QUICK if given.quick else FULL
    stores = {one.store for one in given.only}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="agentbus-library-")))
        python = given.python
        if python is None:
            say("library: looking for the other libraries, or installing them ...")
            python = make_environment(kept_environment())
        stage = Stage(
            folder,
            python,
            rabbitmq=stack.enter_context(private_rabbitmq()) if any(one.distributed for one in given.only) else None,
            mongodb=stack.enter_context(private_mongodb()) if "mongodb" in stores else None,
            redis=stack.enter_context(private_redis()) if "redis" in stores else None,
        )
        found = measure(given.only, sizes, stage)
        versions = versions_in(python)
    told = figures(found, sizes)
    screen().print(table(found, told, sizes))
    name = RESULTS if sizes is FULL and given.only == list(CONTENDERS) else RESULTS.with_name("library-quick.json")
    write_results(name, {"versions": versions, "sizes": asdict(sizes), **told, "runs": found}, indent=1)
    here = machine()
    title = f"agentbus.sessions beside others, {datetime.now(UTC):%Y-%m-%d}, {here['cores']} cores, {here['cpu']}"
    draw(told, title, name.with_suffix(".svg"))
    tell(told)
    return 0


if __name__ == "__main__":
    run(main)
