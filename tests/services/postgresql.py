"""A private PostgreSQL server from local programs."""

import asyncio
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import ClassVar

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
import psutil  # type: ignore[import-untyped]  # psutil ships no types

from tests.services.errors import StartFailed
from tests.services.local import LocalService, as_account, unprivileged
from tests.services.ports import LOOPBACK, listens
from tests.services.programs import postgresql_program
from tests.services.service import wait_until
from tests.services.sql import EMPTYING_SECONDS, KEPT, USER, SqlServer

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # What was reported committed has been written, so it survives a kill of all processes, but is not forced onto the
    # disk, as it would have to be for a crash of the machine. A kill can cut the writing of a page short, so that
    # full_page_writes stays on.
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum": "off",
    "jit": "off",
}

_WHO_MAY = f"""
host all {USER} {LOOPBACK}/32 trust
host all all {LOOPBACK}/32 scram-sha-256
"""
"""Our own user is let in; everybody else has to know a password."""


_EMPTYING = f"""
DO $$
DECLARE found text;
BEGIN
  FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '{KEPT}' LOOP
    EXECUTE format('DELETE FROM %I', found);
  END LOOP;
END $$
"""  # noqa: S608 - names of our own tables


class PostgreSQL(SqlServer):
    """A PostgreSQL server."""

    driver: ClassVar[str] = "postgresql+asyncpg"

    @property
    def maintenance(self) -> str:
        return "postgres"

    def creating(self, name: str) -> str:
        return f'CREATE DATABASE "{name}"'

    def dropping(self, name: str) -> str:
        return f'DROP DATABASE "{name}" WITH (FORCE)'

    async def _empty(self, name: str) -> None:
        """Delete all rows in one statement, by the driver itself: SQLAlchemy asks twenty things first."""
        try:
            async with asyncio.timeout(EMPTYING_SECONDS):
                connection = await asyncpg.connect(self.database_url(name))
                try:
                    await connection.execute(_EMPTYING)
                finally:
                    await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from error


class LocalPostgreSQL(PostgreSQL, LocalService):
    """A server of our own: a process for each connection, all of which are killed, paused and resumed together."""

    name: ClassVar[str] = "postgres"

    def __init__(self) -> None:
        self._programs = {name: str(postgresql_program(name)) for name in ("postgres", "initdb")}
        super().__init__(by=unprivileged())
        self._initialize()

    def _initialize(self) -> None:
        command = [self._programs["initdb"], "-D", "data", "-U", USER, "--no-locale", "-E", "UTF8", "--no-sync"]
        command += ["--auth=trust", "--no-instructions"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **as_account(self._by)
        )
        if done.returncode != 0:
            self._folder.close()
            message = f"initdb failed: {done.stderr}"
            raise StartFailed(message)
        (self.folder / "data" / "pg_hba.conf").write_text(_WHO_MAY)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        command = [self._programs["postgres"], "-D", "data", "-p", str(self.port)]
        return [*command, *(part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}"))]

    def ready(self) -> bool:
        return listens(self.port) and self.answers()

    def _goes_on(self) -> bool:
        # Of its processes one may have been killed: then it ends the others, and begins anew by itself.
        return super()._goes_on() and self.answers()

    def stop(self) -> None:
        self.resume()
        self._end(signal.SIGINT)  # SIGTERM would wait until every client has left.

    def kill(self) -> None:
        others = self._others()
        super().kill()
        for one in others:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        wait_until(lambda: not any(map(lives, others)), what="the end of PostgreSQL's processes", seconds=30.0)

    def pause(self) -> None:
        super().pause()  # First, so that it begins no further ones.
        _send(self._others(), signal.SIGSTOP)

    def resume(self) -> None:
        if self._paused:
            _send(self._others(), signal.SIGCONT)
        super().resume()

    def _others(self) -> list[psutil.Process]:
        """Return the processes of the connections and of the server's own work."""
        if not self.running:
            return []
        found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        return found


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def lives(process: psutil.Process) -> bool:
    """Whether a process goes on; one that its new parent has not reaped yet has ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
