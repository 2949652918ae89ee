"""Upserts as SQLite and PostgreSQL write them alike: INSERT ... ON CONFLICT."""

from typing import Any

from sqlalchemy import Insert, Table

from agentbus.storage.sql.dialects.port import Values


def on_conflict(statement: Any, table: Table, values: Values, newer: str | None) -> Insert:
    """Return the insert of either dialect that gives `values` to the rows that there are."""
    unless_newer = None if newer is None else table.c[newer] <= statement.excluded[newer]
    upsert: Insert = statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=values(statement.excluded), where=unless_newer
    )
    return upsert
