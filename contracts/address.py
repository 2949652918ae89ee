"""Where a message came from, and which conversation that makes it part of."""

import re
from enum import StrEnum
from typing import Any, Final, cast
from uuid import uuid4

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from agentbus.contracts.base import Contract, Id
from agentbus.contracts.ids import ConversationId, digest_of

_PLATFORM: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""One word of a routing key, fit for a label, a file name and a URL."""

_WORD: Final = "a lower-case word of a-z, 0-9, _ and -, at most 32, a letter first, other than none"

NO_PLATFORM: Final = "none"
"""In the place of a platform in a routing key: the session has none."""


def is_platform(word: str) -> bool:
    """Whether a word may name a platform: 1 to 32 of a-z, 0-9, `_` and `-`, a letter first, and not `none`."""
    return _PLATFORM.fullmatch(word) is not None and word != NO_PLATFORM


class Platform(StrEnum):
    """The chat system behind an address: one of these, or any other lower-case word (`Platform("teams")`).

    `is_platform` says which words are platforms. Compare them with `==`: only those named here are single objects.
    """

    TELEGRAM = "telegram"
    """Telegram bots and clients."""
    SLACK = "slack"
    """Slack workspaces."""
    DISCORD = "discord"
    """Discord servers and direct messages."""
    WHATSAPP = "whatsapp"
    """WhatsApp, through the Cloud API or an export."""
    LINE = "line"
    """LINE official accounts."""
    FEISHU = "feishu"
    """Feishu and Lark."""
    WECHAT = "wechat"
    """WeChat official accounts."""
    IRC = "irc"
    """Internet Relay Chat."""
    EMAIL = "email"
    """Electronic mail."""
    WEB = "web"
    """A chat window on a web page."""
    API = "api"
    """A program that speaks to AgentBus itself."""
    CUSTOM = "custom"
    """Any system that does not say its name."""

    @classmethod
    def _missing_(cls, value: object) -> "Platform | None":
        """Return a platform that has no name here. None are kept: whoever publishes could fill the memory with them."""
        if not isinstance(value, str) or not is_platform(value):
            return None
        platform = str.__new__(cls, value)
        platform._name_, platform._value_ = value.upper(), value
        return platform

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Of two names for one thing, that of the words beside that of all this, it hung on what was built before which
        # of them a published schema had first.
        words = {name: part for name, part in handler(source).items() if name != "ref"}
        return core_schema.custom_error_schema(
            cast("CoreSchema", words),
            custom_error_type="platform",
            custom_error_message=f"Input should be {_WORD}",
            ref=f"{cls.__module__}.{cls.__qualname__}",
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe any word, with those that have a name here as examples."""
        reference = handler(schema)
        described = handler.resolve_ref_schema(reference)
        described.pop("enum", None)
        described |= {
            "description": f"The chat system behind an address, {_WORD}.",
            "pattern": f"^(?!{NO_PLATFORM}$){_PLATFORM.pattern}$",
            "examples": [known.value for known in cls],
        }
        return reference


class Address(Contract):
    """Where a message came from, and where replies to it go."""

    platform: Platform
    account: Id = Field(default="default", description="Which bot or workspace account received it.")
    chat: Id = Field(description="The chat, channel or room, as the platform names it.")
    thread: Id | None = Field(default=None, description="The thread within the chat, if there is one.")
    user: Id = Field(description="Who wrote it, as the platform names them.")


class Scope(StrEnum):
    """Session scope policy: which messages belong to one conversation."""

    MAIN = "main"
    """Everything is one conversation: an assistant with a single owner."""
    PER_CHAT = "per_chat"
    """One conversation for each chat (and thread), whoever writes in it."""
    PER_USER = "per_user"
    """One conversation for each user of a platform, wherever they write."""
    PER_CHAT_USER = "per_chat_user"
    """One conversation for each user in each chat (and thread)."""
    PER_ACCOUNT_CHAT_USER = "per_account_chat_user"
    """As `per_chat_user`, and separate for each account (bot) too."""


def conversation_id_for(address: Address, scope: Scope) -> ConversationId:
    """Return the conversation that `address` belongs to under the policy `scope`."""
    return ConversationId(digest_of(_scope_key(address, scope)))


def new_conversation_id() -> ConversationId:
    """Make up a conversation for a session that has no chat."""
    return ConversationId(digest_of(("unaddressed", uuid4().hex)))


def _scope_key(address: Address, scope: Scope) -> tuple[str | None, ...]:
    match scope:
        case Scope.MAIN:
            return (scope,)
        case Scope.PER_CHAT:
            return (scope, address.platform, address.chat, address.thread)
        case Scope.PER_USER:
            return (scope, address.platform, address.user)
        case Scope.PER_CHAT_USER:
            return (scope, address.platform, address.chat, address.thread, address.user)
        case Scope.PER_ACCOUNT_CHAT_USER:
            return (scope, address.platform, address.account, address.chat, address.thread, address.user)
