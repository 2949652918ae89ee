"""A private MariaDB server from local programs."""

import subprocess
from collections.abc import Sequence
from typing import ClassVar

from tests.services.errors import StartFailed
from tests.services.local import LocalService, as_account, unprivileged
from tests.services.ports import LOOPBACK, listens
from tests.services.programs import mariadb_program
from tests.services.sql import USER, SqlServer

_SETTINGS = {
    "bind-address": LOOPBACK,
    "socket": "socket",
    "skip-name-resolve": "1",
    # What was reported committed has been written, so it survives a kill of the process, but is forced onto the disk
    # once a second only, as it would have to be at once for a crash of the machine. A kill can cut the writing of a
    # page short, so that the doublewrite buffer stays on.
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "16M",
    "max-connections": "200",
    "performance-schema": "0",
    "character-set-server": "utf8mb4",
}

_WHO_MAY = f"""
CREATE USER IF NOT EXISTS '{USER}'@'{LOOPBACK}';
GRANT ALL ON *.* TO '{USER}'@'{LOOPBACK}';
"""
"""Our own user is let in; there is nobody else who may come from outside."""


class MariaDB(SqlServer):
    """A MariaDB server."""

    driver: ClassVar[str] = "mysql+asyncmy"

    @property
    def maintenance(self) -> str:
        return "mysql"

    def creating(self, name: str) -> str:
        return f"CREATE DATABASE {name}"

    def dropping(self, name: str) -> str:
        return f"DROP DATABASE {name}"


class LocalMariaDB(MariaDB, LocalService):
    """A server of our own."""

    name: ClassVar[str] = "mariadbd"

    def __init__(self) -> None:
        self._programs = {name: str(mariadb_program(name)) for name in ("mariadbd", "mariadb-install-db")}
        super().__init__(by=unprivileged())
        self._initialize()

    def _initialize(self) -> None:
        command = [self._programs["mariadb-install-db"], "--no-defaults", *self._folders()]
        command += ["--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **as_account(self._by)
        )
        if done.returncode != 0:
            self._folder.close()
            message = f"mariadb-install-db failed: {done.stdout}{done.stderr}"
            raise StartFailed(message)
        (self.folder / "who-may.sql").write_text(_WHO_MAY)

    def _folders(self) -> list[str]:
        return [f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"]

    @property
    def url(self) -> str:
        return f"mariadb://{USER}@{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        command = [self._programs["mariadbd"], "--no-defaults", *self._folders()]
        command += [f"--port={self.port}", f"--init-file={self.folder}/who-may.sql"]
        return [*command, *(f"--{name}={value}" for name, value in _SETTINGS.items())]

    def ready(self) -> bool:
        return listens(self.port) and self.answers()
