"""The tables of the releases that kept no revision. There is nothing to do: such a database has them."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Change nothing."""
