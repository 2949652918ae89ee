"""What is read of what LINE sends; the rest is passed over.

Source: https://developers.line.biz/en/reference/messaging-api/#webhook-event-objects.
"""

from pydantic import BaseModel, Field

from agentbus.contracts.base import Many


class Source(BaseModel):
    """Where something happened. A group may keep who it was to itself."""

    type: str = ""
    userId: str | None = None  # noqa: N815 - LINE's name
    groupId: str | None = None  # noqa: N815 - LINE's name
    roomId: str | None = None  # noqa: N815 - LINE's name


class Provider(BaseModel):
    """Who keeps a file."""

    originalContentUrl: str | None = Field(default=None, min_length=1)  # noqa: N815 - LINE's name


class ImageSet(BaseModel):
    """The pictures that were sent as one."""

    id: str = Field(min_length=1)


class Message(BaseModel):
    """A message of any kind."""

    id: str = Field(min_length=1)
    type: str
    text: str = ""
    quotedMessageId: str | None = None  # noqa: N815 - LINE's name
    contentProvider: Provider = Provider()  # noqa: N815 - LINE's name
    imageSet: ImageSet | None = None  # noqa: N815 - LINE's name
    fileName: str | None = None  # noqa: N815 - LINE's name
    fileSize: int | None = Field(default=None, ge=0)  # noqa: N815 - LINE's name
    title: str | None = None
    address: str | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    packageId: str | None = None  # noqa: N815 - LINE's name
    stickerId: str | None = None  # noqa: N815 - LINE's name


class Unsent(BaseModel):
    """A message that was taken back."""

    messageId: str = Field(min_length=1)  # noqa: N815 - LINE's name


class Postback(BaseModel):
    """A button that was pressed."""

    data: str = ""


class Members(BaseModel):
    """Who joined, or left."""

    members: Many[Source] = Field(max_length=255)


class Event(BaseModel):
    """What all events have, and what some have."""

    type: str
    timestamp: int
    webhookEventId: str = Field(min_length=1)  # noqa: N815 - LINE's name
    source: Source = Source()
    message: Message | None = None
    unsend: Unsent | None = None
    postback: Postback | None = None
    joined: Members | None = None
    left: Members | None = None
