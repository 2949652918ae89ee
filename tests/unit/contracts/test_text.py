"""Text on its way out: it can be encoded, and what is cut stays text."""

import pytest

from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.text import encodable, first_bytes, last_bytes


@pytest.mark.parametrize(
    ("text", "encoded"), [("plain", b"plain"), ("café", "café".encode()), ("caf\udce9.txt", rb"caf\udce9.txt")]
)
def test_whatever_a_text_holds_it_can_be_encoded(text: str, encoded: bytes) -> None:
    assert encodable(text).encode() == encoded


def test_an_error_of_ours_can_travel_whatever_name_it_quotes() -> None:
    assert str(AgentBusError("no such file: caf\udce9")).encode() == rb"no such file: caf\udce9"


def test_what_is_cut_fits_and_is_still_text() -> None:
    assert first_bytes("жжж", 5) == "жж"
    assert last_bytes("жжж", 5) == "жж"
    assert first_bytes("abc", 5) == last_bytes("abc", 5) == "abc"
