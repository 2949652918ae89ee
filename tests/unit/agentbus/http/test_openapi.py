"""The OpenAPI document: as it was agreed, and what of it may change within a version."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.harness.openapi import FILE, breaks, now, rendered

Document = dict[str, Any]


def test_the_document_is_the_one_that_was_agreed() -> None:
    agreed, document = FILE.read_text("utf-8"), now()
    assert breaks(json.loads(agreed), document) == [], "this breaks who relies on v1: make it compatible"
    assert rendered(document) == agreed, "if that is meant, agree to it: python -m tests.harness.openapi"


def removing_a_call(it: Document) -> None:
    del it["paths"]["/v1/workers"]


def another_role(it: Document) -> None:
    it["paths"]["/v1/workers"]["get"]["x-agentbus-role"] = "admin"


def not_for_users(it: Document) -> None:
    it["paths"]["/v1/sessions"]["get"]["x-agentbus-for-users"] = False


def parameter(it: Document, name: str) -> Any:
    return next(one for one in it["paths"]["/v1/sessions"]["get"]["parameters"] if one["name"] == name)


def a_parameter_less(it: Document) -> None:
    it["paths"]["/v1/sessions"]["get"]["parameters"].remove(parameter(it, "owner"))


def a_narrower_parameter(it: Document) -> None:
    parameter(it, "limit")["schema"]["maximum"] = 10


def a_required_parameter(it: Document) -> None:
    parameter(it, "owner")["required"] = True


def a_field_of_a_body_less(it: Document) -> None:
    del it["components"]["schemas"]["NewMessage"]["properties"]["sender_name"]


def a_required_field_of_a_body(it: Document) -> None:
    it["components"]["schemas"]["NewMessage"]["required"].append("message_id")


def a_required_body(it: Document) -> None:
    it["paths"]["/v1/sessions/{session_id}/close"]["post"]["requestBody"]["required"] = True


def a_field_of_an_answer_less(it: Document) -> None:
    del it["components"]["schemas"]["SessionListed"]["properties"]["owner"]


def another_type_in_an_answer(it: Document) -> None:
    it["components"]["schemas"]["SessionListed"]["properties"]["version"]["type"] = "string"


def an_answer_less(it: Document) -> None:
    del it["paths"]["/v1/messages"]["post"]["responses"]["202"]


def a_field_of_a_body_more(it: Document) -> None:
    it["components"]["schemas"]["NewMessage"]["properties"]["mood"] = {"type": "string"}


def a_field_of_an_answer_more(it: Document) -> None:
    it["components"]["schemas"]["SessionListed"]["properties"]["mood"] = {"type": "string"}


def a_call_more(it: Document) -> None:
    it["paths"]["/v1/moods"] = it["paths"]["/v1/workers"]


def other_words(it: Document) -> None:
    it["paths"]["/v1/workers"]["get"]["summary"] = "Workers."


BREAKING: list[Callable[[Document], None]] = [
    removing_a_call,
    another_role,
    not_for_users,
    a_parameter_less,
    a_narrower_parameter,
    a_required_parameter,
    a_field_of_a_body_less,
    a_required_field_of_a_body,
    a_required_body,
    a_field_of_an_answer_less,
    another_type_in_an_answer,
    an_answer_less,
]
ALLOWED: list[Callable[[Document], None]] = [
    a_field_of_a_body_more,
    a_field_of_an_answer_more,
    a_call_more,
    other_words,
]


def test_what_breaks_others_is_found_and_what_does_not_is_not() -> None:
    agreed = json.loads(FILE.read_text("utf-8"))
    found = {}
    for change in (*BREAKING, *ALLOWED):
        changed = deepcopy(agreed)
        change(changed)
        found[change.__name__] = bool(breaks(agreed, changed))
    assert found == {one.__name__: one in BREAKING for one in (*BREAKING, *ALLOWED)}
