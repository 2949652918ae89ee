"""Options that several commands share. What is not given comes from the environment (`AGENTBUS_...`)."""

from typing import Annotated

import typer

from contracts.address import Scope

Amqp = Annotated[
    str | None,
    typer.Option("--amqp", metavar="URL", help="The broker, amqp://user:password@host/. [env: AGENTBUS_AMQP_URL]"),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--mongo",
        metavar="URL",
        help="The store: mongodb://host/database, sqlite:///file.db or file:///folder. [env: AGENTBUS_STORE_URL]",
    ),
]
ArchiveUrl = Annotated[
    str | None,
    typer.Option(
        "--archive",
        metavar="URL",
        help="The archive: file:///folder or another fsspec URL. [env: AGENTBUS_ARCHIVE_URL]",
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(metavar="WORD", help="First word of all queue names. [env: AGENTBUS_PREFIX]"),
]
Partitions = Annotated[
    int | None,
    typer.Option(metavar="N", help="Partition queues, the same for everyone. [env: AGENTBUS_PARTITIONS]"),
]
ScopePolicy = Annotated[
    Scope | None,
    typer.Option("--scope", help="Which messages form one conversation. [env: AGENTBUS_SCOPE]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Rows on a page.")]
Cursor = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where the page before ended.")]
Wait = Annotated[
    float | None,
    typer.Option("--wait", min=0.1, metavar="SECONDS", help="How long to wait for a broker or store that is down."),
]
