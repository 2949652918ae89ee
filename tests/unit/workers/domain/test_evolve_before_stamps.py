"""What an earlier release wrote, before there were stamps and identities: every kind of event of it folds as it did."""

import json
from pathlib import Path
from typing import Any, get_args

from agentbus.contracts.commands import LinkIdentity, SetData
from agentbus.contracts.events import AnyEvent, Commit, DataSet
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.evolve import heads_after, replay
from tests.harness.conversations import CONVERSATION
from tests.harness.linked import entry, events_of, merge, stamp, step

LOG = Path(__file__).parents[3] / "samples" / "logs" / "before_stamps.jsonl"
"""One line for each commit: the commit, and the heads that it left then."""

NEW = {
    "identity_linked", "identity_unlinked", "context_merged", "conflict_opened", "conflict_resolved",
    "expiry_step_taken", "session_archived", "session_restored", "conversation_erased",
    "reply_requested", "reply_sent", "reply_failed", "reply_unknown", "reply_reopened",
    "reply_delivered", "reply_read", "reply_change_requested", "reply_edited", "reply_unchanged",
}  # fmt: skip
"""Events that came with stamps, and later."""


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LOG.read_text("utf-8").splitlines()]


def test_every_kind_of_event_of_then_is_among_them() -> None:
    kinds = {event["kind"] for line in lines() for event in line["commit"]["events"]}
    assert kinds | NEW == {kind.model_fields["kind"].default for kind in get_args(AnyEvent)}
    assert not kinds & NEW


def test_a_log_of_then_leaves_the_heads_that_it_left() -> None:
    state = SessionState.empty(CONVERSATION)
    for line in lines():
        heads = heads_after(state, Commit.model_validate(line["commit"]))
        assert heads == tuple(SessionState.model_validate(head) for head in line["heads"])
        state = heads[-1]
    assert (state.stamps, state.clock, state.identity, state.erased) == ({}, None, None, False)


def test_a_session_of_then_can_be_written_to_linked_and_merged() -> None:
    kept = [Commit.model_validate(line["commit"]) for line in lines()]
    upto = next(place for place, commit in enumerate(kept) if commit.events[0].kind == "data_set") + 1
    old = replay(SessionState.empty(CONVERSATION), kept[:upto])
    assert old.data == {"a": {"x": 1}, "b": [1, 2]}
    (event,) = events_of(old, SetData(values={"a": 2}))
    assert isinstance(event, DataSet)
    assert event.bases.keys() == {"/data/a/x"}
    state = step(step(old, SetData(values={"a": 2})), LinkIdentity(identity="ann"))
    state = step(state, merge(entry("/data/b", 3, stamp(60))))
    assert state.data == {"a": 2, "b": 3}
