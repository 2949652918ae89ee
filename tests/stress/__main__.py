"""`python -m tests.stress`: progress, a table and a verdict; the exit code is 1 if something was broken."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.harness.processes import exit_on_sigterm
from tests.services import private_mongodb, private_rabbitmq
from tests.stress.run import run_stress
from tests.stress.world import Plan


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    plan, as_json = _arguments()
    screen = Console(stderr=as_json, width=None if sys.stdout.isatty() else 120)
    screen.print("stress: starting RabbitMQ and MongoDB ...")
    with (
        private_rabbitmq() as rabbitmq,
        private_mongodb() as mongodb,
        TemporaryDirectory() as folder,
        rabbitmq.fresh_vhost() as amqp_url,
        mongodb.fresh_database() as mongo_url,
    ):
        report = asyncio.run(
            run_stress(
                plan, amqp_url, mongo_url, Path(folder), lambda what: screen.print(f"stress: {what}", highlight=False)
            )
        )
    report.show(screen)
    if as_json:
        print(json.dumps(report.figures()))  # noqa: T201 - standard output is for programs then
    return 0 if report.good else 1


def _arguments() -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long users make calls")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other users and calls")
    parser.add_argument("--json", action="store_true", help="print one JSON object; the rest goes to standard error")
    chosen = parser.parse_args()
    try:
        plan = Plan(seconds=chosen.seconds, users=chosen.users, sessions=chosen.sessions, seed=chosen.seed)
    except ValueError as error:
        parser.error(str(error))
    return plan, chosen.json


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
