"""Private SQL servers: killed, paused, emptied, and those of others."""

from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest

from tests.services import (
    LOOPBACK,
    LocalMariaDB,
    LocalPostgreSQL,
    NotOurs,
    SqlServer,
    StartFailed,
    external,
    free_port,
    private_mariadb,
    private_postgresql,
    shared_mariadb,
    shared_postgresql,
)
from tests.services.local import unprivileged
from tests.services.ports import listens
from tests.services.postgresql import lives
from tests.services.test_containers import FakeContainer

LOCAL: list[Callable[[], Any]] = [LocalPostgreSQL, LocalMariaDB]

both = pytest.mark.parametrize("kind", ["postgresql", "mariadb"])


@pytest.mark.parametrize("local", LOCAL)
def test_what_was_committed_outlives_a_kill_and_nothing_outlives_the_end(local: Callable[[], Any]) -> None:
    with local() as server, server.fresh_database() as url:
        database = url.rpartition("/")[2]
        server.execute(database, "CREATE TABLE notes (id INT)", "INSERT INTO notes VALUES (1)")
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert {one.uids().effective == 0 for one in family} == {False} or unprivileged() is None

        server.pause()
        assert server.running
        assert not server.ready()
        server.start()
        assert server.execute(database, "SELECT id FROM notes") == [[[1]]]

        server.kill()
        assert not any(map(lives, family))
        server.start()
        assert server.url in url
        assert server.execute(database, "SELECT id FROM notes") == [[[1]]]
        server.restart()
        assert server.execute(database, "SELECT id FROM notes") == [[[1]]]
    assert not listens(server.port)
    assert not server.folder.exists()


@both
def test_database_is_given_again_with_its_tables_and_without_rows(kind: str, request: pytest.FixtureRequest) -> None:
    server: SqlServer = request.getfixturevalue(kind)
    with server.emptied_database() as url:
        database = url.rpartition("/")[2]
        server.execute(database, "CREATE TABLE notes (id INT)", "INSERT INTO notes VALUES (1)")
        with server.emptied_database() as other:
            assert other != url

    with server.emptied_database() as one, server.emptied_database() as two:
        given = {one, two}
        assert server.execute(database, "SELECT COUNT(*) FROM notes") == [[[0]]]
        server.execute(database, "DROP TABLE notes")
    assert given == {url, other}


@both
def test_each_fresh_database_is_new_and_is_dropped(kind: str, request: pytest.FixtureRequest) -> None:
    server: SqlServer = request.getfixturevalue(kind)
    with server.fresh_database() as first, server.fresh_database() as second:
        assert first != second
    names = "SELECT datname FROM pg_database" if kind == "postgresql" else "SHOW DATABASES"
    [found] = server.execute(server.maintenance, names)
    assert first.rpartition("/")[2] not in {name for [name] in found}


@pytest.mark.parametrize(
    ("kind", "variable", "shared"),
    [
        ("postgresql", external.POSTGRESQL_URL, shared_postgresql),
        ("mariadb", external.MARIADB_URL, shared_mariadb),
    ],
)
def test_server_of_somebody_else_is_used_and_never_stopped(
    kind: str,
    variable: str,
    shared: Callable[[], SqlServer],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours: SqlServer = request.getfixturevalue(kind)
    monkeypatch.setenv(variable, ours.url)
    with shared() as server, server.fresh_database() as url:
        assert url.startswith(ours.url)
        for forbidden in (server.stop, server.kill, server.pause, server.resume):
            with pytest.raises(NotOurs, match=variable):
                forbidden()

    monkeypatch.setattr(external, "_START_SECONDS", 0.0)
    monkeypatch.setenv(variable, f"{kind}://nobody@{LOOPBACK}:{free_port()}")
    with pytest.raises(StartFailed, match=variable):
        shared().start()


@pytest.mark.parametrize(
    ("private", "url"),
    [
        (private_postgresql, "postgresql://agentbus:agentbus@docker.example:15432"),
        (private_mariadb, "mariadb://root:agentbus@docker.example:13306"),
    ],
)
def test_server_in_a_container(private: Callable[[], SqlServer], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("testcontainers.core.container.DockerContainer", FakeContainer)
    monkeypatch.setattr("tests.services.choose.docker_answers", lambda: True)
    monkeypatch.setattr(SqlServer, "answers", lambda server: not asked.append(server.url))  # type: ignore[func-returns-value]  # it is what is asked

    with private() as server:
        assert server.url == url
        assert server.database_url("a") == f"{url}/a"
    assert asked == [url]
