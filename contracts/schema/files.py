"""The published documents as the files that they are committed as."""

from typing import Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.schema.asyncapi import asyncapi
from agentbus.contracts.schema.compatibility import incompatibilities
from agentbus.contracts.schema.documents import DOCUMENTS, published, render

ASYNCAPI_FILE: Final = "asyncapi.json"


def files() -> dict[str, str]:
    """Return the text of every published document by its file name."""
    return {name: render(schema) for name, schema in (*published().items(), (ASYNCAPI_FILE, asyncapi()))}


def breaks(committed: dict[str, str]) -> dict[str, list[str]]:
    """Return what today's contracts would break for those who rely on the `committed` files, by file name.

    The AsyncAPI document is not compared: its payloads are the schemas that are. Raises ValueError if a committed
    file is not JSON.
    """
    found = {
        document.file_name: incompatibilities(
            json_in(committed[document.file_name]), document.schema(), direction=document.direction
        )
        for document in DOCUMENTS
        if document.file_name in committed
    }
    return {name: changes for name, changes in found.items() if changes}
