"""`agentbus predict`: what is likely to become of a session."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import print_fields, print_json
from agentbus.composition.app import stored
from agentbus.operations.tracking import predict_session
from agentbus.settings import Settings


@connecting("archive", "store", "wait")
async def predict(
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="Its id, as `agentbus sessions list` shows it.")],
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Say how likely it is that somebody writes again, and that their session ends.

    In an hour, a day, a week: by how it went in the last 90 days with others that had been silent, or there, for as
    long. How good that is with yours: agentbus tracking assess.
    """
    async with stored(settings) as app:
        found = await predict_session(app, session_id)
    if as_json:
        print_json(asdict(found))
        return
    print_fields(
        {
            "session_id": found.session_id,
            "age_hours": found.age_hours,
            "silent_hours": found.silent_hours,
            "writes_again": _words(asdict(found.returns) if found.returns else None),
            "ends": _words(asdict(found.ends) if found.ends else None),
            "method": found.method,
        }
    )


def _words(chances: dict[str, Any] | None) -> str:
    if chances is None:
        return "too little is known"
    told = [f"{share:.0%} within the {name}" for name, share in chances["within"].items() if share is not None]
    half = f"half within {chances['median_hours']} hours" if chances["median_hours"] is not None else ""
    of_others = f"by {chances['based_on']} others"
    return ", ".join([*told, *([half] if half else []), of_others])
