"""Which of our errors an error of the driver stands for."""

import re
import ssl
from typing import Final

from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    IncompatibleProtocolError,
    InvalidFrameError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)
from yarl import URL

from agentbus.contracts.errors import BrokerRejected, BrokerUnavailable, BusError, PublishUnconfirmed, Unroutable
from agentbus.contracts.urls import masked

_NO_EXCHANGE: Final = re.compile(r"no exchange '(?P<name>.*)' in vhost '")


class Nacked(Exception):
    """The broker refused a message: basic.nack."""


class Returned(Exception):
    """No queue takes a message that was mandatory: basic.return."""


def connect_failure(error: Exception, url: str) -> BrokerUnavailable | BrokerRejected:
    """Say why a connection to `url` could not be opened, and whether trying again can help."""
    where = f"the broker at {masked(url)}"
    match error:
        case ProbableAuthenticationError() | AuthenticationError():
            return BrokerRejected(f"{where} refuses this user or password: {error}")
        case InvalidFrameError() if "Connection.OpenOk" in str(error):
            # aiormq 7.2 keeps nothing of the broker's own words here but the frame that it expected instead.
            host = URL(url).path.removeprefix("/") or "/"
            return BrokerRejected(f"{where} refuses virtual host {host!r}: create it, or give the user rights on it")
        case ProtocolSyntaxError() | IncompatibleProtocolError():
            return BrokerRejected(f"what answers at {masked(url)} does not speak AMQP 0-9-1: check host and port")
        case _ if isinstance(error.__cause__, ssl.SSLError):
            return BrokerRejected(f"no TLS with {where}: {error.__cause__}")
        case _:
            return BrokerUnavailable(f"{where} does not answer: {_words(error)}")


def channel_failure(error: BaseException, doing: str) -> BusError:
    """Say why an operation on a channel failed. `doing` completes the sentence "while ..."."""
    match error:
        case BusError():
            return error
        case ChannelAccessRefused():
            return BrokerRejected(f"the broker refused while {doing}: {error}")
        case ChannelNotFoundEntity():
            return Unroutable(f"while {doing}: {error}; declare the topology first")
        case _:
            return BrokerUnavailable(f"the connection to the broker was lost while {doing}: {_words(error)}")


def publish_failure(error: BaseException, exchange: str, routing_key: str) -> BusError:
    """Say why a message was not confirmed."""
    match error:
        case BusError():
            return error
        case Returned():
            return Unroutable(f"no queue takes routing key {routing_key!r} on exchange {exchange!r}: declare it first")
        case Nacked():
            return PublishUnconfirmed("the broker refused the message: the queue is full or was failing over")
        case ChannelNotFoundEntity() if (found := _NO_EXCHANGE.search(str(error))) and found["name"] == exchange:
            return Unroutable(f"there is no exchange {exchange!r}: declare the topology first")
        case ChannelAccessRefused() | ChannelPreconditionFailed() if _refuses_us(error):
            return BrokerRejected(f"the broker refused: {error}")
        case _:
            return PublishUnconfirmed(f"no confirm came: {_words(error)}")


def _refuses_us(error: BaseException) -> bool:
    """Whether it is us whom the broker refuses: for want of a right, or as it knows us by another name than the URL."""
    return isinstance(error, ChannelAccessRefused) or "user_id property" in str(error)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
