import base64
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, Final

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.workers.adapters import factory
from agentbus.workers.adapters.factory import OURS, accounts_in, channel_named, known_channels, register_channel
from agentbus.workers.adapters.port import GROUP, Capabilities, Channel, ChannelAccount
from agentbus.workers.adapters.webhook.account import WebhookAccount
from tests.platforms.catalog import PLATFORMS

SECRET = "whsec_" + base64.b64encode(b"n" * 24).decode()

ACCOUNTS: Final[dict[str, dict[str, Any]]] = {
    platform.name: platform.account() for platform in (kind() for kind in PLATFORMS) if "api" in platform.account()
}
"""Accounts by which something can be sent, of the channels that have an API."""


class PigeonAccount(ChannelAccount):
    loft: str


PIGEON = Channel(name="pigeon", title="Pigeons", account=PigeonAccount, capabilities=Capabilities(receives=frozenset()))


@pytest.mark.parametrize("name", OURS)
def test_a_channel_of_ours_is_found_by_the_name_that_it_has(name: str) -> None:
    channel = channel_named(name)
    assert channel.name == name
    assert channel.capabilities.receives


def test_an_account_is_its_channel_its_name_and_its_fields() -> None:
    [one] = accounts_in({"webhook": {"shop": {"secret": SECRET}}})
    assert (one.channel.name, one.name, one.account) == ("webhook", "shop", WebhookAccount(secret=SECRET))


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    [one] = accounts_in({"webhook": {"shop": {"secret_file": str(tmp_path / "secret")}}})
    assert one.account == WebhookAccount(secret=SECRET)


def test_all_that_is_wrong_is_told_at_once_by_its_place_and_without_what_it_holds() -> None:
    given: dict[str, dict[str, dict[str, str]]] = {
        "webhook": {
            "shop": {"secret": "hush-hush-not-base64-at-all"},
            "../../etc": {},
            "file": {"secret_file": "/nowhere/at/all"},
        },
        "carrier pigeon": {"one": {}},
    }
    with pytest.raises(ConfigurationError) as raised:
        accounts_in(given)
    told = str(raised.value)
    assert all(
        part in told
        for part in (
            "AGENTBUS_CHANNELS: webhook.shop.secret: ",
            "webhook.../../etc: an account is called by",
            "webhook.file: secret_file: /nowhere/at/all can't be read",
            "carrier pigeon.one: no channel is called 'carrier pigeon': there are",
        )
    )
    assert "hush" not in told


@pytest.mark.parametrize("token", ["", "xoxb 1", "xoxb-1\nx", "xöxb-1", "x" * 5000])
@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_a_token_that_no_request_can_bear_is_told_of_at_the_start(name: str, token: str) -> None:
    field = "app_secret" if name == "feishu" else "token"
    with pytest.raises(ConfigurationError, match=rf"{name}\.bot\.{field}: ") as raised:
        accounts_in({name: {"bot": ACCOUNTS[name] | {field: token}}})
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize("api", ["", "api.example.org", "ftp://example.org", "https://api example"])
@pytest.mark.parametrize("name", sorted(ACCOUNTS))
def test_where_a_platform_is_has_to_be_a_web_address(name: str, api: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}\.bot\.api: .*it is no web address"):
        accounts_in({name: {"bot": ACCOUNTS[name] | {"api": api}}})


def test_a_channel_of_an_installed_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("pigeon", f"{__name__}:PIGEON", GROUP)
    monkeypatch.setattr(factory, "entry_points", lambda group: EntryPoints([entry]).select(group=group))
    monkeypatch.setattr(factory, "_registered", {})

    assert "pigeon" in known_channels()
    assert channel_named("pigeon") is PIGEON
    [one] = accounts_in({"pigeon": {"home": {"loft": "3"}}})
    assert one.account == PigeonAccount(loft="3")


def test_what_is_no_channel_is_not_registered() -> None:
    for wrong in ("pigeon", replace(PIGEON, name="Carrier Pigeon")):
        with pytest.raises(ConfigurationError, match="a channel is"):
            register_channel(wrong)
