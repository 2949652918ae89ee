"""Which channel a name means, and which accounts the settings give."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from re import compile as pattern
from typing import Any, Final, cast

from pydantic import ValidationError

from agentbus.contracts.address import is_platform
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.text import few_of
from agentbus.workers.adapters.port import GROUP, Channel, ChannelAccount

OURS: Final = ("telegram", "slack", "discord", "whatsapp", "line", "feishu", "webhook", "webchat")
"""The channels that are a part of AgentBus: a folder here each."""

FILE_SUFFIX: Final = "_file"
"""A field of an account may be in a file that this name, with the suffix, gives: as containers are given secrets."""

_NAME: Final = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What an account may be called: a part of a web address, and of log lines."""

Given = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Accounts as the settings give them: by channel, by name."""

_registered: Final[dict[str, Channel[Any]]] = {}


@dataclass(frozen=True, slots=True)
class Connected:
    """An account of a channel."""

    channel: Channel[Any]
    name: str
    account: ChannelAccount


def channel_named(name: str) -> Channel[Any]:
    """Return the channel of that name: registered, ours, or of an installed package. Raises ConfigurationError."""
    if found := _registered.get(name):
        return found
    if name in OURS:
        return cast("Channel[Any]", import_module(f"agentbus.workers.adapters.{name}").CHANNEL)
    if name in (installed := _installed()).names:
        register_channel(installed[name].load())
        return _registered[name]
    raise ConfigurationError(f"no channel is called {name!r}: there are {', '.join(known_channels())}")


def register_channel(channel: object) -> None:
    """Let a channel be found by its name. The last one registered for a name counts. Raises ConfigurationError."""
    if not isinstance(channel, Channel) or not is_platform(channel.name):
        raise ConfigurationError("a channel is an `agentbus.workers.adapters.port.Channel`, named like a platform")
    _registered[channel.name] = channel


def known_channels() -> list[str]:
    """Return the names of all channels, those of installed packages too."""
    return sorted({*OURS, *_registered, *_installed().names})


def accounts_in(given: Given) -> list[Connected]:
    """Return the accounts that the settings give. Raises ConfigurationError, which shows no secret."""
    wrong: list[str] = []
    found = [
        one
        for name, accounts in given.items()
        for account, fields in accounts.items()
        if (one := _account(name, account, fields, wrong))
    ]
    if wrong:
        raise ConfigurationError(few_of([f"AGENTBUS_CHANNELS: {one}" for one in wrong]))
    return found


def _account(name: str, account: str, fields: Mapping[str, Any], wrong: list[str]) -> Connected | None:
    where = f"{name}.{account}"
    if not _NAME.fullmatch(account):
        wrong.append(f"{where}: an account is called by letters, digits and . _ -, 64 at most")
        return None
    try:
        channel = channel_named(name)
        return Connected(channel, account, channel.account.model_validate(_with_files(fields)))
    except ConfigurationError as error:
        wrong.append(f"{where}: {error}")
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)
        wrong += [f"{'.'.join((where, *map(str, one['loc'])))}: {one['msg']}" for one in told]
    return None


def _with_files(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an account's fields, with what is in files read from them. Raises ConfigurationError."""
    found = dict(fields)
    for name in fields:
        if not name.endswith(FILE_SUFFIX):
            continue
        path = str(found.pop(name))
        try:
            found[name.removesuffix(FILE_SUFFIX)] = Path(path).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{name}: {path} can't be read: {error}") from None
    return found


def _installed() -> EntryPoints:
    return entry_points(group=GROUP)
