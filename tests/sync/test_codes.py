"""Claim codes as text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import ButtonContent, CommandContent, Spoken, TextContent, UnsupportedContent
from agentbus.workers.sync.people.codes import Heard, heard_in, is_proof, new_number, proof_of, written

SESSION = SessionId("a" * 26 + ".1")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CODE = "ABCD-0123-EFGH-4567-JKMN-89PQ"
HEARD = ("ABCD0123", "EFGH4567JKMN89PQ")


def test_a_code_is_grouped_for_people_and_read_back() -> None:
    number = new_number()
    proof = proof_of(b"secret", number, SESSION, NOON)
    code = written(number, proof)
    assert [len(group) for group in code.split("-")] == [4] * 6
    assert heard_in(TextContent(text=code)) == Heard(number, proof, asked=False)


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (TextContent(text=CODE), False),
        (TextContent(text=f"  {CODE.lower()}\n"), False),
        (TextContent(text=CODE.replace("-", " ")), False),
        (TextContent(text=CODE.replace("-", "")), False),
        (TextContent(text=CODE.replace("0", "o").replace("1", "l")), False),
        (TextContent(text=f"/link {CODE}"), True),
        (TextContent(text=f"/LINK  {CODE}"), True),
        (CommandContent(name="link", arguments=CODE), True),
    ],
)
def test_a_code_is_heard_however_it_is_typed(content: Spoken, asked: bool) -> None:
    assert heard_in(content) == Heard(*HEARD, asked=asked)


@pytest.mark.parametrize(
    "content",
    [
        TextContent(text=""),
        TextContent(text="hello"),
        TextContent(text=f"my code is {CODE}"),
        TextContent(text=CODE[:-1]),
        TextContent(text=f"{CODE}-ABCD"),
        TextContent(text="/link"),
        TextContent(text="/link https://example.org/"),
        CommandContent(name="start", arguments=CODE),
        CommandContent(name="link"),
        ButtonContent(data=CODE),
        UnsupportedContent(what="code", raw=CODE),
    ],
)
def test_other_messages_are_no_codes(content: Spoken) -> None:
    assert heard_in(content) is None


def test_a_proof_is_of_one_number_one_session_one_time_and_one_secret() -> None:
    number, other = new_number(), SessionId("b" * 26 + ".1")
    right = proof_of(b"secret", number, SESSION, NOON)
    assert is_proof(proof_of(b"secret", number, SESSION, NOON), right)
    for wrong in (
        proof_of(b"other", number, SESSION, NOON),
        proof_of(b"secret", new_number(), SESSION, NOON),
        proof_of(b"secret", number, other, NOON),
        proof_of(b"secret", number, SESSION, NOON + timedelta(milliseconds=1)),
    ):
        assert not is_proof(wrong, right)


def test_a_code_can_not_be_guessed() -> None:
    proof = proof_of(b"secret", new_number(), SESSION, NOON)
    assert len(proof) * 5 >= 80
    assert len({new_number() for _ in range(1000)}) == 1000


@given(st.text())
def test_any_text_can_be_listened_to(text: str) -> None:
    heard = heard_in(TextContent(text=text))
    assert heard is None or len(heard.number + heard.proof) == 24
