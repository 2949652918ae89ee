"""The contracts as others see them: JSON Schemas, an AsyncAPI document, and what would break somebody."""

from contracts.schema.asyncapi import asyncapi
from contracts.schema.compatibility import incompatibilities
from contracts.schema.documents import DOCUMENTS, Document, published, render
from contracts.schema.files import breaks, files
from contracts.schema.shape import JsonSchema

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
