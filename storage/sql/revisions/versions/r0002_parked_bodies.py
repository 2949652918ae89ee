"""Parked inputs whose body is too large for a row of the database: the rest is kept in pieces."""

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, String

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of the pieces."""
    op.create_table(
        "parked_bodies",
        Column("parked_id", String(255), primary_key=True),
        Column("piece", Integer, primary_key=True, autoincrement=False),
        Column("body", LargeBinary, nullable=False),
        if_not_exists=True,
    )
