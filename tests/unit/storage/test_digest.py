"""The digest of what a store keeps: any order, and any difference."""

from typing import Any

import pytest
from pydantic import JsonValue

from agentbus.storage.digest import Digest, LogDigest, canonical, of_parked
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, appended, data_set


def digest_of(*parts: Any) -> str:
    digest = Digest()
    for part in parts:
        digest.add("part", part)
    return str(digest)


def log_digest_of(*versions: int) -> str:
    digest, log, one = Digest(), LogDigest(), a_conversation("one")
    for version in versions:
        log.add(a_commit(one, version, events=[appended(one, version, "m")]))
    digest.add_log(log)
    return str(digest)


def test_order_of_parts_does_not_matter_and_their_number_does() -> None:
    assert digest_of(1, 2, 3) == digest_of(3, 1, 2)
    assert len({digest_of(), digest_of(1), digest_of(1, 1), digest_of(1, 2)}) == 4
    assert len(digest_of()) == 64


@pytest.mark.parametrize(
    "others", [(1, 1.0, True, "1"), (0, 0.0, -0.0, False, None, ""), ("é", "e\u0301"), ([1, 2], [2, 1])]
)
def test_values_that_are_alike_are_told_apart(others: tuple[Any, ...]) -> None:
    assert len({digest_of({"a": other}) for other in others}) == len(others)


def test_order_of_keys_does_not_matter() -> None:
    one = a_conversation("one")
    orders: list[dict[str, JsonValue]] = [{"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}]
    heads = [a_head(one, data=data) for data in orders]
    commits = [a_commit(one, events=[data_set(one, 1, dict(head.data))]) for head in heads]

    assert canonical(commits[0]) == canonical(commits[1])
    assert digest_of(heads[0].model_dump(mode="json")) == digest_of(heads[1].model_dump(mode="json"))


def test_order_of_commits_matters() -> None:
    assert len({log_digest_of(), log_digest_of(1), log_digest_of(1, 2), log_digest_of(2, 1), log_digest_of(2)}) == 5


def test_body_of_a_parked_input_matters() -> None:
    parked = a_parked()

    assert of_parked(parked) == of_parked(parked.model_copy())
    assert of_parked(parked) != of_parked(parked.model_copy(update={"body": b"other"}))
    assert of_parked(parked) != of_parked(parked.model_copy(update={"attempts": 2}))
