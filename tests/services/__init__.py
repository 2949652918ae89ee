"""Real and private services for the tests: RabbitMQ and MongoDB, never shared, never on a default port.

In a test, ask for the fixtures `amqp_url` (a new virtual host) and `mongo_url` (a new database), or `used_mongo_url`
(an empty one that tests before have used, which is cheaper). A test that stops, kills or pauses a service starts its
own: `with private_rabbitmq() as broker:`. A test that needs a cluster, plugins or settings uses the local classes.

Each service comes from an environment variable (see `external`), else from Docker, else from local programs,
which `python -m tests.services install` provides.
"""

from tests.services.choose import private_mongodb, private_rabbitmq, shared_mongodb, shared_rabbitmq
from tests.services.errors import MissingProgram, NotOurs, ServiceError, StartFailed
from tests.services.mongodb import LocalMongoDB, MongoDB, form_replica_set
from tests.services.ports import LOOPBACK, free_port
from tests.services.rabbitmq import LocalRabbitMQ, RabbitMQ
from tests.services.service import Service

__all__ = [
    "LOOPBACK",
    "LocalMongoDB",
    "LocalRabbitMQ",
    "MissingProgram",
    "MongoDB",
    "NotOurs",
    "RabbitMQ",
    "Service",
    "ServiceError",
    "StartFailed",
    "form_replica_set",
    "free_port",
    "private_mongodb",
    "private_rabbitmq",
    "shared_mongodb",
    "shared_rabbitmq",
]
