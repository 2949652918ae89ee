"""Which fields a policy shares, and which commands carry them."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import MergeContext
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncOperation, SyncPolicy
from agentbus.workers.sync.exchange import MOST_ENTRIES, Parcel, matches, merges, shared, shares
from tests.harness.builders import NOON, a_conversation, a_head
from tests.harness.conversations import NOW
from tests.harness.linked import entry as written_at
from tests.harness.linked import linked, stamp, step
from tests.harness.linked import merge as merge_of

HERE = a_conversation("here")
SOURCE = session_id_for(HERE, 1)
THERE = a_head(a_conversation("there"))
STAMP = next_stamp(None, NOON, "telegram", HERE)


def entry(field: str, value: object = 1) -> Entry:
    return Entry.model_validate({"field": field, "value": value, "stamp": STAMP})


def parcel(*entries: Entry, cause: str = "cause", source: SessionId = SOURCE, whole: bool = False) -> Parcel:
    return Parcel(cause=cause, identity="ann", source=source, entries=entries, whole=whole)


@pytest.mark.parametrize(
    ("pattern", "key", "yes"),
    [
        ("*", "anything", True),
        ("*", "", True),
        ("*", "two\nlines", True),
        ("city", "city", True),
        ("city", "City", False),
        ("pref_*", "pref_theme", True),
        ("pref_*", "my_pref_theme", False),
        ("*_at", "seen_at", True),
        ("a*b*c", "a--b--c", True),
        ("[ab]?", "[ab]?", True),
        ("[ab]?", "a1", False),
        (".", "x", False),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_does(pattern: str, key: str, yes: bool) -> None:
    assert matches(pattern, key) is yes


def test_the_top_level_key_decides() -> None:
    policy = SyncPolicy(data=("profile", "a/b"), metadata=("lang*",))
    shared_fields = ["/data/profile", "/data/profile/name", "/data/a~1b/x", "/metadata/lang", "/metadata/language"]
    for field in shared_fields:
        assert shares(policy, field)
    for field in ("/data/other", "/data/other/profile", "/metadata/profile", "/data/lang", "/data/a/b"):
        assert not shares(policy, field)


def test_metadata_are_shared_only_when_asked_for() -> None:
    assert not shares(SyncPolicy(), "/metadata/verified_email")


def test_secrets_stay_where_they_are() -> None:
    policy = SyncPolicy()
    given = [
        entry("/data/token"),
        entry("/data/account/API-Key"),
        entry("/data/account/name"),
        entry("/data/list", [{"password": "x", "user": "ann"}]),
    ]
    found = shared(policy, given)
    assert [one.field for one in found] == ["/data/account/name", "/data/list"]
    assert found[1].value == [{"user": "ann"}]
    assert [one.field for one in shared(policy, given, ("name",))] == [
        "/data/token",
        "/data/account/API-Key",
        "/data/list",
    ]


def test_a_command_has_the_same_id_whenever_it_comes_from_the_same() -> None:
    policy, others = SyncPolicy(), [THERE, a_head(a_conversation("elsewhere"))]
    first = merges(parcel(entry("/data/a")), policy, others)
    again = merges(parcel(entry("/data/a")), policy, others)
    assert [one.id for one in first] == [one.id for one in again]
    different = [
        *first,
        *merges(parcel(entry("/data/a"), cause="another"), policy, others),
        *merges(parcel(entry("/data/a"), source=session_id_for(HERE, 2)), policy, others),
    ]
    assert len({one.id for one in different}) == 6


def test_a_context_that_has_changed_is_not_the_same_again() -> None:
    """Else what somebody got between two looks would be lost with what they had by the first, of the same cause."""
    later = [stamp(seconds, "slack") for seconds in (1, 2)]
    parcels = [parcel(), parcel(entry("/data/a")), parcel(entry("/data/b"))]
    parcels += [parcel(written_at("/data/a", 1, one)) for one in later]
    sent = [one for some in parcels for one in merges(some, SyncPolicy(), [THERE])]
    assert len({one.id for one in sent}) == len(sent) == 4


def test_nothing_is_sent_for_nothing() -> None:
    assert merges(parcel(), SyncPolicy(), [THERE]) == []


def test_whole_contexts_may_do_all_and_changes_what_the_policy_says() -> None:
    policy = SyncPolicy(operations=frozenset({SyncOperation.CREATE, SyncOperation.MERGE}))
    (change,) = merges(parcel(entry("/data/a")), policy, [THERE])
    (whole,) = merges(parcel(entry("/data/a"), whole=True), policy, [THERE])
    assert isinstance(change.data, MergeContext)
    assert isinstance(whole.data, MergeContext)
    assert change.data.operations == {SyncOperation.CREATE}
    assert whole.data.operations == {SyncOperation.MERGE}


def test_what_is_too_much_for_one_command_goes_in_several_key_by_key() -> None:
    sizes = {"a": MOST_ENTRIES - 1, "a-b": 2, "a~1c": MOST_ENTRIES, "d": 1, "huge": 12_000}
    entries = [entry(f"/data/{key}/{number}") for key, size in sizes.items() for number in range(size)]
    sent = merges(parcel(*reversed(entries)), SyncPolicy(), [THERE])
    commands = [one.data for one in sent if isinstance(one.data, MergeContext)]
    keys = [sorted({one.field.split("/")[2] for one in command.entries}) for command in commands]
    assert keys == [["a"], ["a-b"], ["a~1c"], ["d"], ["huge"], ["huge"]]
    assert sum(len(command.entries) for command in commands) == len(entries)
    assert len({one.id for one in sent}) == len(sent)


@pytest.mark.parametrize("strategy", [ConflictStrategy.LATEST_WINS, ConflictStrategy.SOURCE_PRIORITY])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_key_too_large_for_one_command_arrives_whole_whatever_its_fields_stamps(
    strategy: ConflictStrategy, backwards: bool
) -> None:
    """Such stamps are what another strategy left. The part with the lower ones would be outranked by the other."""
    stamps = [stamp(seconds, "web") for seconds in (1, 2)]
    keys = [f"/data/huge/{number:05d}" for number in range(10_003)]
    whole = [written_at(field, number, stamps[number < 9]) for number, field in enumerate(keys)]
    there = step(linked("slack", {"huge": {"old": 1}}), merge_of(written_at("/data/k", 1, stamps[0])))
    policy = SyncPolicy(strategy=strategy, priority=(Platform.WEB,))
    sent = [one.data for one in merges(parcel(*whole), policy, [there])]
    assert len(sent) == 2
    for command in reversed(sent) if backwards else sent:
        there = step(there, command.model_copy(update={"session_id": None}), NOW + timedelta(seconds=3))
    huge = there.data["huge"]
    assert isinstance(huge, dict)
    assert huge == {f"{number:05d}": number for number in range(10_003)}
