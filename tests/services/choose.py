"""Which of its kinds a service is: somebody else's, the run's, in a container, or a local program."""

import os

from tests.services.containers import (
    ContainerMariaDB,
    ContainerMongoDB,
    ContainerPostgreSQL,
    ContainerRabbitMQ,
    ContainerRedis,
    docker_answers,
)
from tests.services.external import (
    AMQP_API_URL,
    AMQP_URL,
    MARIADB_URL,
    MONGO_URL,
    POSTGRESQL_URL,
    REDIS_URL,
    ExternalMariaDB,
    ExternalMongoDB,
    ExternalPostgreSQL,
    ExternalRabbitMQ,
    ExternalRedis,
)
from tests.services.lending import lent
from tests.services.mariadb import LocalMariaDB, MariaDB
from tests.services.mongodb import LocalMongoDB, MongoDB
from tests.services.postgresql import LocalPostgreSQL, PostgreSQL
from tests.services.rabbitmq import LocalRabbitMQ, RabbitMQ
from tests.services.redis import SURE, LocalRedis, RedisServer


def shared_rabbitmq() -> RabbitMQ:
    """Choose a broker for a whole test run: AGENTBUS_TEST_AMQP_URL, else one of our own. Raises ServiceError."""
    if url := os.environ.get(AMQP_URL):
        return ExternalRabbitMQ(url, os.environ.get(AMQP_API_URL))
    return lent("rabbitmq") or private_rabbitmq()


def private_rabbitmq() -> RabbitMQ:
    """Choose a broker that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerRabbitMQ() if docker_answers() else LocalRabbitMQ()


def shared_mongodb() -> MongoDB:
    """Choose a MongoDB server for a whole test run: AGENTBUS_TEST_MONGO_URL, else our own. Raises ServiceError."""
    if url := os.environ.get(MONGO_URL):
        return ExternalMongoDB(url)
    return lent("mongodb") or private_mongodb()


def private_mongodb() -> MongoDB:
    """Choose a MongoDB server that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerMongoDB() if docker_answers() else LocalMongoDB()


def shared_postgresql() -> PostgreSQL:
    """Choose a PostgreSQL server for a whole run: AGENTBUS_TEST_POSTGRESQL_URL, else our own. Raises ServiceError."""
    if url := os.environ.get(POSTGRESQL_URL):
        return ExternalPostgreSQL(url)
    return lent("postgresql") or private_postgresql()


def private_postgresql() -> PostgreSQL:
    """Choose a PostgreSQL server that a test may stop, kill, pause: in a container, else local. Raises ServiceError."""
    return ContainerPostgreSQL() if docker_answers() else LocalPostgreSQL()


def shared_mariadb() -> MariaDB:
    """Choose a MariaDB server for a whole test run: AGENTBUS_TEST_MARIADB_URL, else our own. Raises ServiceError."""
    if url := os.environ.get(MARIADB_URL):
        return ExternalMariaDB(url)
    return lent("mariadb") or private_mariadb()


def private_mariadb() -> MariaDB:
    """Choose a MariaDB server that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerMariaDB() if docker_answers() else LocalMariaDB()


def shared_redis() -> RedisServer:
    """Choose a Redis server for a whole test run: AGENTBUS_TEST_REDIS_URL, else one of our own. Raises ServiceError."""
    if url := os.environ.get(REDIS_URL):
        return ExternalRedis(url)
    return lent("redis") or (ContainerRedis() if docker_answers() else LocalRedis())


def private_redis() -> RedisServer:
    """Choose a Redis server that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerRedis() if docker_answers() else LocalRedis(**SURE)
