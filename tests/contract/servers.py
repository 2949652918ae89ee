"""The SQL servers that tests of the SQL store run on, by their names."""

from typing import Final

import pytest

from tests.harness.sampling import on_all_servers
from tests.services import SqlServer

servers: Final = pytest.mark.parametrize("kind", ["postgresql", pytest.param("mariadb", marks=on_all_servers)])


def server_of(request: pytest.FixtureRequest, kind: str) -> SqlServer:
    """Return the run's server of a kind."""
    server: SqlServer = request.getfixturevalue(kind)
    return server
