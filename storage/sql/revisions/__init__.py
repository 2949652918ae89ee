"""Bringing the tables of a database to those of this release: by revisions, with alembic.

A database without tables gets those of this release at once; `versions` holds what changes the tables of an earlier
one, in its order. Which revision a database has is kept in the table `alembic_version`, as alembic does.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from agentbus.contracts.errors import StoreRejected
from agentbus.contracts.extras import importing_extras
from agentbus.storage.sql.dialects import Dialect
from agentbus.storage.sql.schema import OF_MYSQL, metadata

REVISIONS: Final = ("0001", "0002")
"""All revisions of the tables, in their order. The first are those of the releases that kept no revision."""

HERE: Final = Path(__file__).parent

_revision: Final = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True), **OF_MYSQL)


def is_up_to_date(connection: Connection, target: str) -> bool:
    """Return whether the database has the tables of this release. Raises StoreRejected if they are of a later one."""
    return _found(connection, target) == REVISIONS[-1]


def bring_up_to_date(connection: Connection, dialect: Dialect) -> None:
    """Bring the tables to this release, in the transaction that there is. Others that do the same wait meanwhile.

    Where changes of tables commit by themselves, as in MySQL, one that was interrupted is begun anew.
    Raises StoreRejected if they are of a later release.
    """
    dialect.lock_schema(connection)
    try:
        found = _found(connection, dialect.target)  # Anew: somebody else may have done it meanwhile.
        if found is None and not (dialect.ONE_WRITER and inspect(connection).has_table("commits")):
            _make_all(connection)
        elif found != REVISIONS[-1]:
            _upgrade(connection, found)
    finally:
        dialect.unlock_schema(connection)


def _found(connection: Connection, target: str) -> str | None:
    """Return the revision that the database has; None if it keeps none."""
    if not inspect(connection).has_table(_revision.name):
        return None
    found: list[str] = list(connection.scalars(select(_revision.c.version_num)))
    if unknown := set(found) - set(REVISIONS):
        raise StoreRejected(
            f"{target} has tables of a later release, of revision {', '.join(sorted(unknown))}, while this one knows "
            f"them up to {REVISIONS[-1]}: use the release that wrote it, or another database"
        )
    return found[0] if found else None


def _make_all(connection: Connection) -> None:
    """Make the tables with their indexes; those that are there were left by one that was interrupted."""
    there = set(inspect(connection).get_table_names())
    made = [table for table in metadata.sorted_tables if table.name not in there]
    metadata.create_all(connection, made, checkfirst=False)
    for table in metadata.sorted_tables:
        for index in table.indexes if table.name in there else ():
            index.create(connection, checkfirst=True)
    _revision.create(connection, checkfirst=_revision.name in there)
    connection.execute(insert(_revision), {"version_num": REVISIONS[-1]})


def _upgrade(connection: Connection, found: str | None) -> None:
    # Imported here: it takes a quarter of a second, and is needed once in the life of a database.
    with importing_extras():
        from alembic import command  # noqa: PLC0415 - as above
        from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    if found is None:
        command.stamp(config, REVISIONS[0])
    command.upgrade(config, "head")
