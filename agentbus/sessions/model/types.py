"""The small types of the session API."""

from enum import StrEnum

from agentbus.contracts.address import Platform
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.profile import Permission, SessionType, Visibility
from agentbus.contracts.session import SessionStatus

__all__ = [
    "ChildPolicy",
    "ConflictPolicy",
    "LimitPolicy",
    "MessageType",
    "Permission",
    "Platform",
    "SessionStatus",
    "SessionType",
    "StorageType",
    "Visibility",
]


class StorageType(StrEnum):
    """Where sessions are kept."""

    MEMORY = "memory"
    """In this process; gone when it ends."""
    FILE = "file"
    """JSON files in a folder: `storage_config={"storage_dir": ...}`."""
    DATABASE = "database"
    """A SQLite database: `storage_config={"db_path": ...}`."""
    MONGODB = "mongodb"
    """MongoDB: `storage_config={"url": "mongodb://..."}`."""
    REDIS = "redis"
    """Redis or Valkey: `storage_config={"url": "redis://..."}`."""
    SQL = "sql"
    """PostgreSQL, MySQL or MariaDB."""

    @classmethod
    def of(cls, value: "StorageType | str") -> "StorageType | str":
        """Return the storage type that `value` names, in any case; another name is that of a registered provider."""
        try:
            return cls(value.lower())
        except ValueError:
            return value


class MessageType(StrEnum):
    """What a message is."""

    TEXT = "text"
    """Something said."""
    COMMAND = "command"
    """A chat command: `/start now`."""
    SYSTEM = "system"
    """A notice or instruction that no one typed; also who joined a chat or left it."""
    IMAGE = "image"
    """A picture; the content is its address."""
    AUDIO = "audio"
    """Sound, a voice message for example; the content is its address."""
    VIDEO = "video"
    """A film; the content is its address."""
    FILE = "file"
    """Any other file; the content is its address."""
    LOCATION = "location"
    """A place; the content is a `geo:` address (RFC 5870)."""
    STICKER = "sticker"
    """A sticker of the platform; the content is its address."""
    CONTACT = "contact"
    """Somebody's address; the content is a `tel:` or `mailto:` one."""
    BUTTON = "button"
    """A button that somebody pressed; the content is what was written into it."""
    UNSUPPORTED = "unsupported"
    """What the channel's adapter does not understand; the content is what the platform sent, as JSON."""


class ConflictPolicy(StrEnum):
    """What saving does about fields that somebody else has changed since they were read."""

    RAISE = "raise"
    """Save nothing and raise EditConflict."""
    OVERWRITE = "overwrite"
    """Write over them."""


class ChildPolicy(StrEnum):
    """What deleting a session means for its children."""

    REFUSE = "refuse"
    """A session with children is not deleted."""
    DETACH = "detach"
    """Its children have no parent any more."""
    CASCADE = "cascade"
    """Its children are deleted first, and theirs before."""


class LimitPolicy(StrEnum):
    """What happens when a user has as many live sessions as allowed and another one is to be created."""

    REFUSE = "refuse"
    """LimitExceeded is raised."""
    CLOSE_OLDEST = "close_oldest"
    """The one with the oldest activity is closed, once the new one is there. One that can't be closed just now (its
    conversation is blocked) is passed over, and tried again at the next creation."""


def platform_of(value: Platform | str) -> Platform:
    """Return the platform that `value` names, in any case. Raises ConfigurationError for what is no platform's name."""
    try:
        return Platform(str.lower(value))
    except (ValueError, TypeError):
        known = ", ".join(Platform)
        raise ConfigurationError(
            f"{value!r} names no platform: use one of {known}, or another word of a-z, 0-9, _ and -"
        ) from None
