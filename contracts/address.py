"""Where a message came from, and which conversation that makes it part of."""

from enum import StrEnum
from uuid import uuid4

from pydantic import Field

from contracts.base import Contract, Id
from contracts.ids import ConversationId, digest_of


class Platform(StrEnum):
    """The chat system behind an address."""

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
    """Any system without a name of its own here."""


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
