"""Print each case: what it should give, what came out, and what a replay made of it."""

import json
import sys

from tests.harness.cli import called
from tests.histories.cases import HISTORIES, Case, there, try_case


def _replayed(case: Case) -> str:
    """Replay the files with the command; options that it can't be given (the time of reading) are left out."""
    told = []
    for name in (case.file, *case.further):
        given = []
        if first_day := case.options.get("first_day"):
            given += ["--first-day", str(first_day)]
        if case.options.get("day_first") is not None:
            given += ["--day-first" if case.options["day_first"] else "--month-first"]
        done = called("replay", str(HISTORIES / name), "--json", *given)
        report = json.loads(done.stdout) if done.stdout else {}
        counts = f"{report['committed']} of {report['published']} committed, " if report else ""
        told.append(f"{counts}exit {done.returncode}")
    return "; ".join(told)


def main() -> int:
    """Print the table; return 1 if anything is not as it should be."""
    failed = 0
    print("| case | expected | got | replay | |")  # noqa: T201 - a report
    print("|---|---|---|---|---|")  # noqa: T201 - a report
    for case in there():
        got = try_case(case)
        failed += bool(got.wrong)
        verdict = "; ".join(got.wrong) or "ok"
        cells = (case.file, case.told, got.shown, _replayed(case), verdict)
        print(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |", flush=True)  # noqa: T201 - a report
    print(f"\n{len(there())} cases, {failed} not as they should be")  # noqa: T201 - a report
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
