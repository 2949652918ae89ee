"""`agentbus contracts`: the published schemas."""

from pathlib import Path
from typing import Annotated

import typer

from agentbus.cli.output import out
from agentbus.cli.running import fail
from agentbus.contracts.errors import AgentBusError
from agentbus.operations.contracts import export as export_contracts

app = typer.Typer(help="The published schemas of everything that travels.", no_args_is_help=True)


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Where to write JSON Schemas and asyncapi.json.")],
) -> None:
    """Write the JSON Schema of every contract and the AsyncAPI 3 document.

    Refuses to overwrite a schema by one that would break somebody who relies on it: that needs a new version.
    """
    try:
        written = export_contracts(folder)
    except AgentBusError as error:
        fail(error)
    out.print(f"{written} files are up to date in {folder}")
