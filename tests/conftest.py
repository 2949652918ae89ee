"""Fixtures for all tests: the services. A service that is missing is an error, never a skip."""

import os
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from agentbus.workers import outages
from tests.services import (
    MariaDB,
    MongoDB,
    PostgreSQL,
    RabbitMQ,
    RedisServer,
    private_rabbitmq,
    shared_mariadb,
    shared_mongodb,
    shared_postgresql,
    shared_rabbitmq,
    shared_redis,
)
from tests.services.lending import LENDER, Lender
from tests.services.used_databases import UsedDatabases

pytest_plugins = [
    "agentbus.testing.conformance",
    "tests.harness.clock",
    "tests.harness.compiling",
    "tests.harness.sampling",
    "tests.harness.leaks.plugin",
    "tests.harness.order",
    "tests.harness.system.fixtures",
    "tests.harness.warm",
]

# Where this is set, as in many containers, each of the hundreds of programs that tests start would compile all that it
# imports anew: 4 s of a processor's time in place of 1.5.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No example of a property test has a deadline: how long one takes says how busy the machine is. In CI, where by itself
# Hypothesis tries the same ones for ever, they are those of the sample (`--sample`): what fails there fails again when
# it is looked at. Everywhere else they are new ones each time.
settings.register_profile("whole", deadline=None, derandomize=False)
settings.register_profile("sample", deadline=None, derandomize=False, max_examples=40)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples are tried; lend one of each service to the processes of a run of several."""
    settings.load_profile("whole" if config.getoption("--whole") else "sample")
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return
    lender = Lender()
    lender.__enter__()
    os.environ[LENDER] = lender.address
    config.add_cleanup(lambda: os.environ.__delitem__(LENDER))
    config.add_cleanup(lender.__exit__)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let each test hear all that is logged, whatever one before it had the log of its process leave out."""
    heard = item.config.pluginmanager.get_plugin("logging-plugin")
    assert heard is not None
    for handler in (heard.caplog_handler, heard.report_handler):
        handler.filters.clear()


@pytest.fixture(autouse=True)
def nothing_said_yet() -> None:
    """Let each test see the lines that are said of the first few times something happens."""
    outages._SPARING.forget()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what a test's commands set up: their lines go to a stream that is closed when the test is over."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_files_in_memory() -> Iterator[None]:
    """Take away what a test kept at `memory://`: fsspec has one such place for the whole process."""
    yield
    if memory := sys.modules.get("fsspec.implementations.memory"):
        memory.MemoryFileSystem.store.clear()
        memory.MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Start the run's broker for the first test that asks. Use `amqp_url` unless you need the broker itself."""
    with shared_rabbitmq() as service:
        yield service


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """Make a new virtual host, deleted after the test, and give its URL."""
    with rabbitmq.fresh_vhost() as url:
        yield url


@pytest.fixture
def mortal_rabbitmq() -> Iterator[RabbitMQ]:
    """Start a broker that the test may stop, kill and pause.

    It is the test's own: one that was killed and revived under another test refuses some queues (INTERNAL_ERROR).
    """
    with private_rabbitmq() as service:
        yield service


@pytest.fixture
def mortal_amqp_url(mortal_rabbitmq: RabbitMQ) -> Iterator[str]:
    """Make a new virtual host of `mortal_rabbitmq`, which a kill does not undo, and give its URL."""
    with mortal_rabbitmq.lasting_vhost() as url:
        yield url


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoDB]:
    """Start the run's MongoDB server for the first test that asks. Use `mongo_url` unless you need it itself."""
    with shared_mongodb() as service:
        yield service


@pytest.fixture
def mongo_url(mongodb: MongoDB) -> Iterator[str]:
    """Give the URL of a database of an unused name, dropped after the test."""
    with mongodb.fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def used_databases(mongodb: MongoDB) -> Iterator[UsedDatabases]:
    """Keep the databases that one test may use after the other."""
    databases = UsedDatabases(mongodb)
    yield databases
    databases.close()


@pytest.fixture
def used_mongo_url(used_databases: UsedDatabases) -> Iterator[str]:
    """Give the URL of an empty database that has a store's indexes if it is not the first: 0.1 s cheaper than a new."""
    with used_databases.one("all") as url:
        yield url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Start the run's PostgreSQL server for the first test that asks. Use `postgresql_url` unless you need it."""
    with shared_postgresql() as service:
        yield service


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """Give the URL of a database without rows, which may have tables: `fresh_database` gives one without."""
    with postgresql.emptied_database() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """Start the run's MariaDB server for the first test that asks. Use `mariadb_url` unless you need it itself."""
    with shared_mariadb() as service:
        yield service


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    """Give the URL of a database without rows, as `postgresql_url`."""
    with mariadb.emptied_database() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """Start the run's Redis server for the first test that asks. Use `redis_url` unless you need it itself."""
    with shared_redis() as service:
        yield service


@pytest.fixture
def redis_url(redis: RedisServer) -> Iterator[str]:
    """Give the URL of an empty place on it, whose keys are deleted after the test."""
    with redis.fresh_database() as url:
        yield url
