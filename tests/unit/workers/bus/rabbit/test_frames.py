"""What is encoded here is what pamqp encodes."""

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit.frames import PublishFrames, ack_frame, reject_frame

TEXTS = st.text(max_size=60)


def encoded(message: Message, *, most: int, user: str | None, key: str = "k") -> bytes:
    return b"".join(PublishFrames(9, most, user).of("exchange", key, message, mandatory=True))


def as_pamqp_has_it(message: Message, *, most: int, user: str | None) -> bytes:
    properties = spec.Basic.Properties(
        content_type=message.content_type,
        headers=dict(message.headers) or None,
        delivery_mode=2,
        correlation_id=message.correlation_id or None,
        reply_to=message.reply_to or None,
        message_id=message.message_id,
        user_id=user or None,
    )
    frames: list[Frame | ContentHeader | ContentBody] = [
        spec.Basic.Publish(exchange="exchange", routing_key="k", mandatory=True),
        ContentHeader(properties=properties, body_size=len(message.body)),
        *(ContentBody(message.body[at : at + most]) for at in range(0, len(message.body), most)),
    ]
    return b"".join(marshal(frame, 9) for frame in frames)


MESSAGES = st.builds(
    Message,
    body=st.binary(max_size=50),
    message_id=TEXTS.filter(bool),
    correlation_id=st.none() | TEXTS,
    reply_to=st.none() | TEXTS,
    headers=st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9) | st.integers(0, 2**40), max_size=2),
)


@given(message=MESSAGES, user=st.none() | TEXTS, most=st.integers(min_value=1, max_value=60))
def test_a_publish(message: Message, user: str | None, most: int) -> None:
    assert encoded(message, most=most, user=user) == as_pamqp_has_it(message, most=most, user=user)


@pytest.mark.parametrize("field", ["correlation_id", "reply_to", "content_type"])
def test_text_that_a_frame_has_no_room_for_is_refused(field: str) -> None:
    message = Message(**{"body": b"", "message_id": "m", field: "é" * 128})  # type: ignore[arg-type]  # one of several
    with pytest.raises(ValueError, match="256"):
        encoded(message, most=100, user=None)
    with pytest.raises(TypeError, match="maximum length of 255 bytes"):
        encoded(Message(body=b"", message_id="m"), most=100, user=None, key="k" * 300)


def test_a_broker_without_a_limit_gets_frames_of_a_common_size() -> None:
    frames = PublishFrames(9, -8, None).of("", "k", Message(body=b"x" * 300_000, message_id="m"), mandatory=False)
    assert sum(len(frame) for frame in frames if frame.startswith(b"x")) == 300_000


@given(st.integers(min_value=1, max_value=2**63 - 1), st.booleans())
def test_settling(tag: int, flag: bool) -> None:
    assert ack_frame(9, tag, multiple=flag) == marshal(spec.Basic.Ack(delivery_tag=tag, multiple=flag), 9)
    assert reject_frame(9, tag, requeue=flag) == marshal(spec.Basic.Reject(delivery_tag=tag, requeue=flag), 9)
