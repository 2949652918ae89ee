"""Which of its kinds a service is: somebody else's, in a container, or a local program."""

import os

from tests.services.containers import ContainerMongoDB, ContainerRabbitMQ, docker_answers
from tests.services.external import AMQP_API_URL, AMQP_URL, MONGO_URL, ExternalMongoDB, ExternalRabbitMQ
from tests.services.mongodb import LocalMongoDB, MongoDB
from tests.services.rabbitmq import LocalRabbitMQ, RabbitMQ


def shared_rabbitmq() -> RabbitMQ:
    """Choose a broker for a whole test run: AGENTBUS_TEST_AMQP_URL, else one of our own. Raises ServiceError."""
    if url := os.environ.get(AMQP_URL):
        return ExternalRabbitMQ(url, os.environ.get(AMQP_API_URL))
    return private_rabbitmq()


def private_rabbitmq() -> RabbitMQ:
    """Choose a broker that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerRabbitMQ() if docker_answers() else LocalRabbitMQ()


def shared_mongodb() -> MongoDB:
    """Choose a MongoDB server for a whole test run: AGENTBUS_TEST_MONGO_URL, else our own. Raises ServiceError."""
    if url := os.environ.get(MONGO_URL):
        return ExternalMongoDB(url)
    return private_mongodb()


def private_mongodb() -> MongoDB:
    """Choose a MongoDB server that a test may stop, kill and pause: in a container, else local. Raises ServiceError."""
    return ContainerMongoDB() if docker_answers() else LocalMongoDB()
