"""Where the programs are that the tests start."""

import hashlib
import os
import shutil
from pathlib import Path

from tests.services.errors import MissingProgram

PROJECT = Path(__file__).resolve().parents[2]
MONGOD_REQUIREMENTS = PROJECT / "requirements" / "mongod.txt"

# Debian's /usr/sbin/rabbitmq-server changes to the user "rabbitmq" and to the system's data: these don't.
DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin")

RABBITMQ_HINT = (
    "Install RabbitMQ 3.10 or newer (Debian, Ubuntu: apt-get install rabbitmq-server; as root, `make services` "
    "does it), or start Docker, or set AGENTBUS_TEST_AMQP_URL and AGENTBUS_TEST_AMQP_API_URL."
)
MONGODB_HINT = (
    "Run `make services`, which fetches it for Linux, or install MongoDB 6.0 or newer, or start Docker, "
    "or set AGENTBUS_TEST_MONGO_URL."
)

POSTGRESQL_HINT = (
    "Install PostgreSQL 13 or newer (Debian, Ubuntu: apt-get install postgresql; as root, `make services` does it), or "
    "start Docker, or set AGENTBUS_TEST_POSTGRESQL_URL."
)
MARIADB_HINT = (
    "Install MariaDB 10.6 or newer (Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core; as root, "
    "`make services` does it), or start Docker, or set AGENTBUS_TEST_MARIADB_URL."
)

REDIS_HINT = (
    "Install Redis 7.0 or newer (Debian, Ubuntu: apt-get install redis-server; as root, `make services` does it), or "
    "start Docker, or set AGENTBUS_TEST_REDIS_URL."
)

CHROMIUM_HINT = "Install Chromium (Debian: apt-get install chromium; as root, `make services` does it)."

# Debian keeps several releases of PostgreSQL side by side, and only the clients' programs on PATH.
DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")
SYSTEM = Path("/usr/sbin")


def mongod_folder() -> Path:
    """Where `make services` puts mongod; another folder when requirements/mongod.txt changes."""
    digest = hashlib.sha256(MONGOD_REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return PROJECT / ".services" / f"mongod-{digest}"


def rabbitmq_program(name: str) -> Path:
    """One of RabbitMQ's own programs (`rabbitmq-server`, `rabbitmqctl`). Raises MissingProgram."""
    return _find(name, before=DEBIAN_RABBITMQ, hint=RABBITMQ_HINT)


def erlang_program(name: str) -> Path:
    """One of Erlang's programs (`epmd`, `erl_call`). Raises MissingProgram."""
    return _find(name, hint=f"It comes with Erlang (Debian, Ubuntu: erlang-base). {RABBITMQ_HINT}")


def mongod_program() -> Path:
    """`mongod` on PATH, else the one that `make services` fetched. Raises MissingProgram."""
    return _find("mongod", after=mongod_folder(), hint=MONGODB_HINT)


def postgresql_program(name: str) -> Path:
    """One of PostgreSQL's own programs (`postgres`, `initdb`), of the newest release. Raises MissingProgram."""
    releases = sorted(DEBIAN_POSTGRESQL.glob("[0-9]*"), key=lambda path: int(path.name))
    return _find(name, before=releases[-1] / "bin" if releases else None, hint=POSTGRESQL_HINT)


def mariadb_program(name: str) -> Path:
    """One of MariaDB's own programs (`mariadbd`, `mariadb-install-db`, ...). Raises MissingProgram."""
    return _find(name, after=SYSTEM, hint=MARIADB_HINT)


def redis_program(name: str) -> Path:
    """One of Redis' own programs (`redis-server`). Raises MissingProgram."""
    return _find(name, hint=REDIS_HINT)


def chromium_program() -> Path:
    """Chromium, for what is tried in a browser. Raises MissingProgram."""
    return _find("chromium", hint=CHROMIUM_HINT)


def _find(name: str, *, hint: str, before: Path | None = None, after: Path | None = None) -> Path:
    folders = [str(before or ""), os.environ.get("PATH", ""), str(after or "")]
    found = shutil.which(name, path=os.pathsep.join(filter(None, folders)))
    if found is None:
        others = "".join(f" or in {folder}" for folder in (before, after) if folder)
        message = f"{name} was not found on PATH{others}. {hint}"
        raise MissingProgram(message)
    return Path(found)
