"""From settings to an expiry worker: who is told, and what is wrong said before anything runs."""

import pytest

from agentbus.composition.workers import notification_callbacks
from agentbus.contracts.errors import ConfigurationError
from agentbus.settings import load_settings


def test_whom_the_settings_name_is_told() -> None:
    assert notification_callbacks(load_settings()) == []
    settings = load_settings(
        expiry_webhook="https://example.org/hook",
        expiry_webhook_secret="0123456789abcdef",  # noqa: S106 - a made-up one
        expiry_email_to="a@example.org, b@example.org",
    )
    assert settings.expiry.expiry_email_to == ("a@example.org", "b@example.org")
    assert "0123456789abcdef" not in repr(settings.expiry)
    assert len(notification_callbacks(settings)) == 2


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"expiry_webhook": "https://example.org/hook"}, "AGENTBUS_EXPIRY_WEBHOOK_SECRET"),
        ({"expiry_webhook_secret": "short"}, "AGENTBUS_EXPIRY_WEBHOOK_SECRET"),
        ({"smtp_port": 0}, "AGENTBUS_SMTP_PORT"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable(given: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load_settings(**given)


def test_an_address_that_is_no_web_address_is_refused() -> None:
    settings = load_settings(expiry_webhook="example.org/hook", expiry_webhook_secret="0" * 16)
    with pytest.raises(ConfigurationError, match="http"):
        notification_callbacks(settings)
