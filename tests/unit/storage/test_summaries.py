"""What a list shows of a head, read without the rest."""

import pytest
from pydantic import BaseModel

from agentbus.contracts.ids import InputId
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState
from agentbus.storage.summaries import ListedHead, ListedProfile, summary_in, summary_of
from agentbus.testing.builders import a_conversation, a_head

HEAD = a_head(a_conversation(), data={"a": 1})


@pytest.mark.parametrize(("part", "whole"), [(ListedHead, SessionState), (ListedProfile, Profile)])
def test_what_is_read_of_a_head_has_its_names_and_defaults(part: type[BaseModel], whole: type[BaseModel]) -> None:
    for name, field in part.model_fields.items():
        assert name in whole.model_fields
        assert field.is_required() == whole.model_fields[name].is_required()
        if not field.default_factory:
            assert field.default == whole.model_fields[name].default


def test_what_a_list_does_not_show_is_not_looked_at() -> None:
    kept = HEAD.model_dump_json().replace('"data":{"a":1}', '"data":"none","said by":"a later release"')

    assert summary_in(kept) == summary_of(HEAD)


def test_a_head_says_whether_it_is_blocked() -> None:
    blocked = HEAD.model_copy(update={"blocked_by": InputId("input-3")})

    assert summary_in(blocked.model_dump_json()) == summary_of(blocked)
    assert (summary_of(blocked).blocked, summary_of(HEAD).blocked) == (True, False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"generation":1', '"generation":0'),
        ('"generation":1', '"generation":"one"'),
        ('"status":"active"', '"status":"of a later release"'),
        ('"tags":[]', '"tags":{}'),
        ('"tags":[]', '"tags":' + "[" * 100_000),
        ('"chat":"chat"', '"chat":""'),
        ('"conversation_id":"', '"conversation_id":"!'),
        ('"last_activity":"2026', '"last_activity":"of old'),
        ('"data":{', '"data":{"\\ud800":'),
    ],
)
def test_a_damaged_head_is_told_by_one_error(before: str, after: str) -> None:
    kept = HEAD.model_dump_json()
    assert before in kept

    with pytest.raises(ValueError, match=r"ListedHead|of no session"):
        summary_in(kept.replace(before, after))
