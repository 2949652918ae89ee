"""Real and private services for the tests, never shared, never on a default port.

They are RabbitMQ, MongoDB, PostgreSQL, MariaDB and Redis. In a test, ask for the fixtures `amqp_url` (a new virtual
host), `mongo_url` (a new database), or `used_mongo_url` (an empty one that tests before have used, which is cheaper),
`postgresql_url` and `mariadb_url` (such ones as well), and `redis_url` (a new prefix of keys). A test that stops, kills
or pauses a service starts its own: `with private_rabbitmq() as broker:`. A test that needs a cluster, plugins or
settings uses the local classes.

Each service comes from an environment variable (see `external`), else from Docker, else from local programs,
which `python -m tests.services install` provides.
"""

from tests.services.choose import (
    private_mariadb,
    private_mongodb,
    private_postgresql,
    private_rabbitmq,
    private_redis,
    shared_mariadb,
    shared_mongodb,
    shared_postgresql,
    shared_rabbitmq,
    shared_redis,
)
from tests.services.errors import MissingProgram, NotOurs, ServiceError, StartFailed
from tests.services.mariadb import LocalMariaDB, MariaDB
from tests.services.mongodb import LocalMongoDB, MongoDB, form_replica_set
from tests.services.ports import LOOPBACK, free_port
from tests.services.postgresql import LocalPostgreSQL, PostgreSQL
from tests.services.rabbitmq import LocalRabbitMQ, RabbitMQ
from tests.services.redis import LocalRedis, LocalRedisCluster, RedisServer
from tests.services.service import Service
from tests.services.sql import SqlServer

__all__ = [
    "LOOPBACK",
    "LocalMariaDB",
    "LocalMongoDB",
    "LocalPostgreSQL",
    "LocalRabbitMQ",
    "LocalRedis",
    "LocalRedisCluster",
    "MariaDB",
    "MissingProgram",
    "MongoDB",
    "NotOurs",
    "PostgreSQL",
    "RabbitMQ",
    "RedisServer",
    "Service",
    "ServiceError",
    "SqlServer",
    "StartFailed",
    "form_replica_set",
    "free_port",
    "private_mariadb",
    "private_mongodb",
    "private_postgresql",
    "private_rabbitmq",
    "private_redis",
    "shared_mariadb",
    "shared_mongodb",
    "shared_postgresql",
    "shared_rabbitmq",
    "shared_redis",
]
