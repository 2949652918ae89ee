"""The published schemas, to check by: each is generated once, when the first test asks for it."""

from functools import cache
from typing import Final

from agentbus.contracts.schema import DOCUMENTS
from agentbus.contracts.schema.shape import JsonSchema

_DOCUMENTS: Final = {document.file_name: document for document in DOCUMENTS}


@cache
def schema_of(name: str) -> JsonSchema:
    """Return a published schema by its file's name; not to be changed."""
    return _DOCUMENTS[name].schema()
