"""Confirms in any order, refusals and returns: each message hears of itself, once."""

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit.confirms import Confirms
from agentbus.workers.bus.rabbit.failures import Nacked, Returned
from agentbus.workers.bus.rabbit.known_routes import GivenUp, Posted
from agentbus.workers.bus.rabbit.wire import BadFrame


def posted(number: int) -> Posted:
    message = Message(body=b"", message_id=f"m-{number}")
    return Posted(exchange="e", routing_key="k", message=message, mandatory=True)


def opened(count: int) -> tuple[Confirms, list[Posted]]:
    confirms, sent = Confirms(), [posted(number) for number in range(1, count + 1)]
    for one in sent:
        confirms.expect(one)
    return confirms, sent


def take(confirms: Confirms, *frames: Frame | ContentHeader | ContentBody) -> list[bool]:
    taken = []
    for frame in frames:
        data = marshal(frame, 1)
        taken.append(confirms.take(data[0], b"xx" + data, 2 + 7, 2 + len(data) - 1))
    return taken


def returned(message_id: str | None, *pieces: bytes) -> list[Frame | ContentHeader | ContentBody]:
    properties = spec.Basic.Properties(message_id=message_id)
    header = ContentHeader(body_size=sum(map(len, pieces)), properties=properties)
    return [spec.Basic.Return(312, "NO_ROUTE", "e", "k"), header, *map(ContentBody, pieces)]


def test_confirms_may_come_in_any_order() -> None:
    confirms, sent = opened(5)
    assert take(confirms, spec.Basic.Ack(4), spec.Basic.Nack(2), spec.Basic.Ack(1)) == [True] * 3
    assert [one.done for one in sent] == [True, True, False, True, False]
    assert [type(one.error) for one in sent] == [type(None), Nacked, type(None), type(None), type(None)]
    take(confirms, spec.Basic.Ack(5, multiple=True))
    assert all(one.done for one in sent)
    assert len(confirms) == 0


def test_several_are_refused_at_once() -> None:
    confirms, sent = opened(4)
    take(confirms, spec.Basic.Ack(2), spec.Basic.Nack(3, multiple=True))
    assert [type(one.error) for one in sent] == [Nacked, type(None), Nacked, type(None)]
    assert [one.done for one in sent] == [True, True, True, False]


def test_tag_0_is_all_so_far_and_what_is_not_known_is_nothing() -> None:
    confirms, sent = opened(2)
    take(confirms, spec.Basic.Ack(9), spec.Basic.Ack(0))
    assert not any(one.done for one in sent)
    take(confirms, spec.Basic.Ack(0, multiple=True), spec.Basic.Ack(1))
    assert all(one.done and one.error is None for one in sent)


def test_what_comes_back_is_not_taken_though_it_is_confirmed_too() -> None:
    confirms, sent = opened(2)
    assert take(confirms, *returned("m-1", b"a", b"b"), spec.Basic.Ack(2, multiple=True)) == [True] * 5
    assert [type(one.error) for one in sent] == [Returned, type(None)]
    take(confirms, *returned("nobody's"), *returned(None))
    with pytest.raises(BadFrame):
        take(confirms, *returned("m-1", b"a")[:2], *returned("m-2")[:1])


def test_what_was_given_up_is_confirmed_in_vain_and_its_id_is_free() -> None:
    confirms, (first, second) = opened(2)
    first.on_settled = confirms.forget
    first.settle(GivenUp())
    again = posted(1)
    assert not confirms.has("m-1")
    confirms.expect(again)
    take(confirms, spec.Basic.Ack(1))
    assert isinstance(first.error, GivenUp)
    assert not again.done
    assert confirms.has("m-1")
    take(confirms, spec.Basic.Ack(3, multiple=True))
    assert (again.done, second.done) == (True, True)


def test_what_is_open_when_the_channel_ends_fails() -> None:
    confirms, sent = opened(3)
    take(confirms, spec.Basic.Ack(2))
    assert confirms.fail(ConnectionError("gone"))
    assert [type(one.error) for one in sent] == [ConnectionError, type(None), ConnectionError]
    assert not confirms.fail(ConnectionError("gone"))


def test_what_else_comes_on_the_channel_is_left_to_aiormq() -> None:
    confirms, _ = opened(1)
    reply: list[Frame | ContentHeader | ContentBody] = [
        spec.Basic.Deliver("ctag", 1, False, "", "k"),
        ContentHeader(body_size=1),
        ContentBody(b"r"),
    ]
    assert take(confirms, *reply, spec.Confirm.SelectOk(), spec.Basic.ConsumeOk("ctag")) == [False] * 5


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.booleans()), max_size=30))
def test_each_is_settled_once_by_the_first_word_about_it(words: list[tuple[int, bool, bool]]) -> None:
    confirms, sent = opened(10)
    expected: dict[int, bool] = {}
    for tag, multiple, refused in words:
        take(confirms, spec.Basic.Nack(tag, multiple=multiple) if refused else spec.Basic.Ack(tag, multiple=multiple))
        upto = range(1, (tag or 10) + 1) if multiple else (tag,)
        for one in upto:
            if 1 <= one <= 10:
                expected.setdefault(one, refused)
    assert {number: isinstance(one.error, Nacked) for number, one in enumerate(sent, start=1) if one.done} == expected
