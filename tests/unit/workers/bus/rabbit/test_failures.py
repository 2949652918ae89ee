import ssl

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from agentbus.contracts.errors import BrokerRejected, BrokerUnavailable, BusError, PublishUnconfirmed, Unroutable
from agentbus.contracts.urls import masked
from agentbus.workers.bus.rabbit.failures import channel_failure, connect_failure, publish_failure

URL = "amqps://user:hunter2@broker:5671/vhost?keyfile=/secret"


def tls_failure() -> Exception:
    error = AMQPConnectionError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    return error


def test_a_url_for_people() -> None:
    assert masked(URL) == "amqps://user:***@broker:5671/vhost"
    assert masked("amqp://broker/") == "amqp://broker/"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProbableAuthenticationError("ACCESS_REFUSED"), BrokerRejected),
        (ProtocolSyntaxError("Unexpected AMQP protocol header"), BrokerRejected),
        (tls_failure(), BrokerRejected),
        (AMQPConnectionError(111, "Connect call failed"), BrokerUnavailable),
        (ConnectionClosed(320, "CONNECTION_FORCED"), BrokerUnavailable),
        (TimeoutError(), BrokerUnavailable),
    ],
)
def test_connecting(error: Exception, kind: type[BusError]) -> None:
    failure = connect_failure(error, URL)
    assert type(failure) is kind
    assert "hunter2" not in str(failure)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ChannelNotFoundEntity("NOT_FOUND - no exchange 'mine' in vhost '/'"), Unroutable),
        (ChannelNotFoundEntity("NOT_FOUND - no exchange 'other' in vhost '/'"), PublishUnconfirmed),
        (ChannelAccessRefused("ACCESS_REFUSED - access to exchange 'mine'"), BrokerRejected),
        (ChannelPreconditionFailed("user_id property set to 'a' but authenticated user was 'b'"), BrokerRejected),
        (ChannelPreconditionFailed("unknown delivery tag"), PublishUnconfirmed),
        (ChannelClosed(0, "closed"), PublishUnconfirmed),
        (BrokerUnavailable(), BrokerUnavailable),
    ],
)
def test_publishing(error: BaseException, kind: type[BusError]) -> None:
    assert type(publish_failure(error, "mine", "0")) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ChannelNotFoundEntity("NOT_FOUND - no queue 'q' in vhost '/'"), Unroutable),
        (ChannelAccessRefused("ACCESS_REFUSED"), BrokerRejected),
        (ConnectionResetError(), BrokerUnavailable),
        (Unroutable(), Unroutable),
    ],
)
def test_on_a_channel(error: BaseException, kind: type[BusError]) -> None:
    assert type(channel_failure(error, "consuming q")) is kind
