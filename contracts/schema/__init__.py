"""The contracts as others see them: JSON Schemas, an AsyncAPI document, and what would break somebody."""

from agentbus.contracts.schema.asyncapi import asyncapi
from agentbus.contracts.schema.compatibility import incompatibilities
from agentbus.contracts.schema.documents import DOCUMENTS, Document, published, render
from agentbus.contracts.schema.files import breaks, files
from agentbus.contracts.schema.shape import JsonSchema

__all__ = [
    # What is published
    "DOCUMENTS",
    "Document",
    "JsonSchema",
    "published",
    "asyncapi",
    # As files
    "files",
    "render",
    # What would break somebody
    "breaks",
    "incompatibilities",
]
