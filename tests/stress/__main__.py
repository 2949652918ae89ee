"""`python -m tests.stress`: progress, a table and a verdict; the exit code is 1 if something was broken."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness.program import parser, run, say, screen, tell
from tests.harness.system.backends import Services
from tests.stress.run import run_stress
from tests.stress.world import Plan


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    plan, as_json = _arguments()
    say("stress: starting RabbitMQ and MongoDB ...")
    with TemporaryDirectory() as folder, Services() as services, services.fresh() as there:
        report = asyncio.run(
            run_stress(plan, there.amqp_url, there.store_url, Path(folder), lambda what: say(f"stress: {what}"))
        )
    report.show(screen(stderr=as_json))
    if as_json:
        tell(report.figures())
    return 0 if report.good else 1


def _arguments() -> tuple[Plan, bool]:
    asked = parser("stress", __doc__, seed="another seed gives other users and calls")
    asked.add_argument("--seconds", type=float, default=60.0, help="how long users make calls")
    asked.add_argument("--users", type=int, default=200)
    asked.add_argument("--sessions", type=int, default=20)
    asked.add_argument("--json", action="store_true", help="print one JSON object; the rest goes to standard error")
    chosen = asked.parse_args()
    try:
        plan = Plan(seconds=chosen.seconds, users=chosen.users, sessions=chosen.sessions, seed=chosen.seed)
    except ValueError as error:
        asked.error(str(error))
    return plan, chosen.json


if __name__ == "__main__":
    run(main)
