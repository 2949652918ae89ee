"""The checker: each invariant with a run that keeps it, and runs that break it."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.storage.memory import MemoryStore
from agentbus.testing import (
    Evidence,
    Finding,
    Handling,
    Invariant,
    Outcome,
    Ownership,
    Published,
    QueueLeft,
    Verdict,
    ZombieWindow,
    check,
    read_evidence,
)
from tests.harness.builders import a_commit, a_conversation, a_parked, appended, data_set

ANN, BOB = a_conversation("ann"), a_conversation("bob")


def commit(conversation: ConversationId, version: int, *, inputs: str = "", epoch: int = 1) -> Commit:
    """Return a commit with one event; its sequence number is the version."""
    event = appended(conversation, version, f"m{version}")
    return a_commit(conversation, version, inputs=inputs or f"{version}", events=[event], epoch=epoch)


def envelopes(*commits: Commit) -> list[EventEnvelope]:
    return [EventEnvelope.of(event) for one in commits for event in one.events]


def parked(conversation: ConversationId | None, input_id: str, status: ParkedStatus) -> ParkedInput:
    return a_parked(input_id).model_copy(update={"conversation_id": conversation, "status": status})


def handled(worker: str, start: float, end: float | None, *, of: ConversationId = ANN) -> Handling:
    return Handling(worker, of, start, end)


def owned(at: float, **counts: Sequence[int]) -> Ownership:
    return Ownership(at, {worker: tuple(map(Partition, numbers)) for worker, numbers in counts.items()})


@pytest.fixture
def good() -> Evidence:
    """Return a run in which everything was observed, and everything was right."""
    commits = {ANN: [commit(ANN, number) for number in (1, 2, 3)], BOB: [commit(BOB, number) for number in (1, 2)]}
    return Evidence(
        published=[
            Published(conversation, InputId(str(number)))
            for number in (1, 2, 3)
            for conversation in (ANN, BOB)
            if (conversation, number) != (BOB, 3)
        ],
        commits=commits,
        events=envelopes(*commits[ANN], *commits[BOB]),
        handlings=[handled("w1", 1, 2), handled("w1", 1, 2, of=BOB), handled("w2", 2, 3)],
        ownership=[owned(0, w1=[0, 1, 2]), owned(1, w1=[0, 1], w2=[]), owned(20, w1=[0, 1], w2=[2])],
        partitions=3,
        queues=[QueueLeft("inbound.0", 0, 0)],
    )


def found(evidence: Evidence, invariant: Invariant) -> Finding:
    """Return the finding about `invariant`; no other one may be violated."""
    verdict = check(evidence)
    assert set(verdict.violated) <= {invariant}
    return verdict.finding(invariant)


def the_case(finding: Finding) -> str:
    """Return the only counter-example."""
    assert finding.outcome is Outcome.VIOLATED
    assert finding.violations == 1
    (words,) = finding.examples
    return words


def test_a_good_run_keeps_every_invariant(good: Evidence) -> None:
    verdict = check(good)
    assert verdict.held
    assert {one.outcome for one in verdict.findings} == {Outcome.HELD}
    assert (verdict.messages, verdict.conversations, verdict.committed) == (5, 2, 5)
    assert (verdict.lost, verdict.duplicated, verdict.reordered, verdict.parked) == (0, 0, 0, 0)


def test_what_was_not_observed_is_not_checked() -> None:
    verdict = check(Evidence(published=[], commits={}))
    assert verdict.held
    assert {one.outcome for one in verdict.findings} == {Outcome.UNCHECKED}


def test_a_lost_input(good: Evidence) -> None:
    published = [*good.published, Published(BOB, InputId("9"))]
    words = the_case(found(replace(good, published=published), Invariant.COMMITTED_ONCE))
    assert BOB in words
    assert "9 was confirmed" in words
    assert check(replace(good, published=published)).lost == 1


def test_an_unconfirmed_input_that_is_missing_is_not_lost(good: Evidence) -> None:
    assert check(replace(good, published=[*good.published, Published(BOB, InputId("9"), confirmed=False)])).held


def test_a_parked_input_is_not_lost_unless_it_was_replayed_and_is_still_missing(good: Evidence) -> None:
    published = [*good.published, Published(BOB, InputId("9")), Published(None, InputId("bad"))]
    aside = [parked(BOB, "9", ParkedStatus.PARKED), parked(None, "bad", ParkedStatus.DISCARDED)]
    verdict = check(replace(good, published=published, parked=aside))
    assert verdict.held
    assert verdict.parked == 2
    again = [parked(BOB, "9", ParkedStatus.REPLAYED), aside[1]]
    assert "9" in the_case(found(replace(good, published=published, parked=again), Invariant.COMMITTED_ONCE))


def test_an_input_of_another_conversation_that_is_parked_excuses_nothing(good: Evidence) -> None:
    published = [*good.published, Published(BOB, InputId("9"))]
    elsewhere = [parked(ANN, "9", ParkedStatus.PARKED)]
    assert BOB in the_case(found(replace(good, published=published, parked=elsewhere), Invariant.COMMITTED_ONCE))


def test_an_input_committed_twice(good: Evidence) -> None:
    again = commit(BOB, 3, inputs="1")
    evidence = replace(
        good,
        commits={**good.commits, BOB: [*good.commits[BOB], again]},
        events=[*(good.events or ()), *envelopes(again)],
    )
    words = the_case(found(evidence, Invariant.COMMITTED_ONCE))
    assert BOB in words
    assert "more than once" in words
    assert check(evidence).duplicated == 1


def test_an_input_from_nowhere(good: Evidence) -> None:
    again = commit(BOB, 3, inputs="x")
    evidence = replace(
        good,
        commits={**good.commits, BOB: [*good.commits[BOB], again]},
        events=[*(good.events or ()), *envelopes(again)],
    )
    assert "never published" in the_case(found(evidence, Invariant.COMMITTED_ONCE))


def test_inputs_committed_out_of_order(good: Evidence) -> None:
    commits = [commit(ANN, 1, inputs="1"), commit(ANN, 2, inputs="3"), commit(ANN, 3, inputs="2")]
    evidence = replace(good, commits={**good.commits, ANN: commits})
    words = the_case(found(evidence, Invariant.ORDER))
    assert ANN in words
    assert " 2 was committed after" in words
    assert check(evidence).reordered == 1


def test_order_within_one_commit_counts_too(good: Evidence) -> None:
    commits = [commit(ANN, 1, inputs="21"), commit(ANN, 2, inputs="3"), commit(ANN, 3, inputs="4")]
    evidence = replace(
        good, commits={**good.commits, ANN: commits}, published=[*good.published, Published(ANN, InputId("4"))]
    )
    assert ANN in the_case(found(evidence, Invariant.ORDER))


@pytest.mark.parametrize(
    ("commits", "words"),
    [
        ([commit(ANN, 1), commit(ANN, 2), commit(ANN, 4, inputs="3")], "version 4 stands where 3 belongs"),
        ([commit(ANN, 1), commit(ANN, 2, epoch=3), commit(ANN, 3, epoch=2)], "version 3 has epoch 2, after epoch 3"),
        (
            [commit(ANN, 1), commit(ANN, 2), a_commit(ANN, 3, inputs="3", events=[data_set(ANN, 5, {})], epoch=1)],
            "after number 2",
        ),
    ],
)
def test_a_broken_log(good: Evidence, commits: list[Commit], words: str) -> None:
    evidence = replace(good, commits={**good.commits, ANN: commits}, events=None)
    example = found(evidence, Invariant.LOG).examples[0]
    assert ANN in example
    assert words in example


def test_an_event_that_was_not_announced(good: Evidence) -> None:
    words = the_case(found(replace(good, events=list(good.events or ())[:-1]), Invariant.ANNOUNCED))
    assert f"{BOB}.1/2 was committed and never announced" in words


def test_an_event_that_never_happened(good: Evidence) -> None:
    words = the_case(
        found(replace(good, events=[*(good.events or ()), *envelopes(commit(BOB, 3))]), Invariant.ANNOUNCED)
    )
    assert f"{BOB}.1/3 was announced and never committed" in words


def test_an_event_that_says_something_else(good: Evidence) -> None:
    other = EventEnvelope.of(appended(BOB, 2, "another"))
    words = the_case(found(replace(good, events=[*(good.events or ()), other]), Invariant.ANNOUNCED))
    assert f"{BOB}.1/2 was announced otherwise" in words


def test_events_out_of_order_and_repeats_which_do_no_harm(good: Evidence) -> None:
    first, second, *others = good.events or ()
    assert check(replace(good, events=[first, second, first, *others, second])).held
    words = the_case(found(replace(good, events=[second, first, second, *others]), Invariant.ANNOUNCED))
    assert f"event {ANN}.1/2 was first announced before an earlier one" in words


def test_two_workers_at_once(good: Evidence) -> None:
    handlings = [handled("w1", 1, 3), handled("w2", 2, 4), handled("w2", 1, 5, of=BOB)]
    words = the_case(found(replace(good, handlings=handlings), Invariant.ONE_OWNER))
    assert words.startswith(f"{ANN}: w2")
    assert "while w1" in words


def test_one_worker_may_begin_when_another_ends_and_one_may_work_twice_at_once(good: Evidence) -> None:
    assert check(replace(good, handlings=[handled("w1", 1, 3), handled("w1", 2, 4), handled("w2", 4, 5)])).held


def test_a_worker_that_never_let_go_is_still_at_work(good: Evidence) -> None:
    assert "w1" in the_case(
        found(replace(good, handlings=[handled("w1", 1, None), handled("w2", 9, 10)]), Invariant.ONE_OWNER)
    )


@pytest.mark.parametrize(
    ("window", "held"),
    [
        (ZombieWindow("w1", 0, 5), True),
        (ZombieWindow(None, 2, 3), True),
        (ZombieWindow("w3", 0, 5), False),
        (ZombieWindow("w1", 0, 2.5), False),
    ],
)
def test_zombies_are_excused_inside_their_window_alone(good: Evidence, window: ZombieWindow, held: bool) -> None:
    evidence = replace(good, handlings=[handled("w1", 1, 3), handled("w2", 2, 4)], zombies=[window])
    assert check(evidence).held is held


def test_a_zombie_with_a_double_effect_is_not_excused(good: Evidence) -> None:
    evidence = replace(
        good,
        handlings=[handled("w1", 1, 3), handled("w2", 2, 4)],
        zombies=[ZombieWindow("w1", 0, 5)],
        events=[*(good.events or ()), EventEnvelope.of(appended(ANN, 1, "another"))],
    )
    verdict = check(evidence)
    assert set(verdict.violated) == {Invariant.ONE_OWNER, Invariant.ANNOUNCED}
    assert "took effect twice" in verdict.finding(Invariant.ONE_OWNER).examples[0]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([owned(0, w1=[0, 1, 2], w2=[]), owned(11, w1=[0, 1, 2], w2=[])], "w1 has 3, w2 has 0"),
        ([owned(0, w1=[0], w2=[1]), owned(11, w1=[0], w2=[1])], "2 has 0"),
        ([owned(0, w1=[0, 1], w2=[1, 2]), owned(11, w1=[0, 1], w2=[1, 2])], "1 has 2"),
    ],
)
def test_partitions_badly_spread(good: Evidence, samples: list[Ownership], words: str) -> None:
    assert words in the_case(found(replace(good, ownership=samples), Invariant.BALANCE))


def test_partitions_may_be_badly_spread_for_a_while_after_a_change(good: Evidence) -> None:
    uneven = [owned(at, w1=[0, 1, 2], w2=[]) for at in (0, 9)]
    joined = owned(12, w1=[0, 1], w2=[2], w3=[])
    assert found(replace(good, ownership=[*uneven, joined]), Invariant.BALANCE).outcome is Outcome.UNCHECKED
    late = replace(good, ownership=[uneven[0], replace(uneven[1], at=15)])
    assert not check(late).held
    assert check(replace(late, changes=[8.0])).held


def test_what_is_left_in_a_queue(good: Evidence) -> None:
    queues = [QueueLeft("inbound.0", 0, 0), QueueLeft("inbound.1", 2, 1)]
    assert "inbound.1 holds 2 waiting and 1" in the_case(found(replace(good, queues=queues), Invariant.EMPTY))


def test_a_finding_shows_the_first_cases_and_counts_all(good: Evidence) -> None:
    published = [*good.published, *(Published(BOB, InputId(f"x{number}")) for number in range(100))]
    finding = found(replace(good, published=published), Invariant.COMMITTED_ONCE)
    assert finding.violations == 100
    assert len(finding.examples) == 5


def test_the_verdict_as_json_and_as_a_table(good: Evidence) -> None:
    verdict = check(replace(good, queues=[QueueLeft("inbound.1", 2, 1)]))
    shown = json.loads(json.dumps(verdict.as_dict()))
    assert shown["held"] is False
    assert shown["findings"][-1] == {
        "invariant": "empty",
        "outcome": "violated",
        "checked": 1,
        "violations": 1,
        "examples": ["queue inbound.1 holds 2 waiting and 1 unacknowledged"],
    }
    console = Console(width=200)
    with console.capture() as capture:
        console.print(verdict.as_table())
    assert "lost 0, duplicated 0, reordered 0" in capture.get()
    assert "inbound.1" in capture.get()


async def test_evidence_is_read_from_a_store() -> None:
    async with MemoryStore() as store:
        await store.log.append([commit(ANN, 1), commit(BOB, 1)])
        await store.log.append([commit(ANN, 2)])
        await store.parked.put(parked(ANN, "3", ParkedStatus.PARKED))
        published = [Published(ANN, InputId(name)) for name in "123"]
        verdict: Verdict = check(await read_evidence(store, published, queues=[QueueLeft("q", 0, 0)]))
    assert verdict.held
    assert (verdict.committed, verdict.parked, verdict.conversations) == (2, 1, 1)
