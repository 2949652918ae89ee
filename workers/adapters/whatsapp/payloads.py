"""What is read of what WhatsApp sends; the rest is passed over.

Source: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components and .../payload-examples.
"""

from pydantic import BaseModel, Field

from agentbus.contracts.base import Many


class Context(BaseModel):
    """The message that was replied to."""

    id: str | None = None


class Text(BaseModel):
    """What was written."""

    body: str


class Media(BaseModel):
    """A picture, a film, sound, a sticker or a document."""

    id: str = Field(min_length=1)
    mime_type: str | None = None
    caption: str = ""
    filename: str | None = None


class Location(BaseModel):
    """A place."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    name: str = ""
    address: str = ""


class FullName(BaseModel):
    """A contact's name."""

    formatted_name: str = ""


class Phone(BaseModel):
    """A contact's number."""

    phone: str = ""


class Email(BaseModel):
    """A contact's address."""

    email: str = ""


class Contact(BaseModel):
    """Somebody's card."""

    name: FullName = FullName()
    phones: Many[Phone] = ()
    emails: Many[Email] = ()


class Pressed(BaseModel):
    """A button of a template."""

    payload: str = ""
    text: str = ""


class Chosen(BaseModel):
    """A button, or an entry of a list."""

    id: str
    title: str = ""


class Interactive(BaseModel):
    """What was chosen of what we offered."""

    button_reply: Chosen | None = None
    list_reply: Chosen | None = None


class Reaction(BaseModel):
    """An emoji, or none any more."""

    message_id: str = Field(min_length=1)
    emoji: str = ""


class Message(BaseModel):
    """A message of any kind."""

    id: str = Field(min_length=1)
    from_: str = Field(alias="from", min_length=1)
    timestamp: int
    type: str
    group_id: str | None = None
    context: Context | None = None
    text: Text | None = None
    image: Media | None = None
    audio: Media | None = None
    video: Media | None = None
    document: Media | None = None
    sticker: Media | None = None
    location: Location | None = None
    contacts: Many[Contact] = Field(default=(), max_length=1000)
    button: Pressed | None = None
    interactive: Interactive | None = None
    reaction: Reaction | None = None


class Failure(BaseModel):
    """Why a message was not delivered."""

    code: int | str = ""
    title: str = ""
    message: str = ""


class Status(BaseModel):
    """What became of a message of ours."""

    id: str = Field(min_length=1)
    status: str
    timestamp: int
    recipient_id: str = Field(min_length=1)
    biz_opaque_callback_data: str | None = None
    errors: Many[Failure] = ()
