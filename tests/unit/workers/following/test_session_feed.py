"""A session's events from the log: where a sequence is, whatever the log went through, and what nobody may read."""

import random

from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.ids import number_of, session_id_for
from agentbus.storage.memory import MemoryStore
from agentbus.testing.builders import a_commit, a_conversation, a_head, appended, begun, deleted, edited
from agentbus.workers.following.session_feed import Place, SessionFeed

ADA = a_conversation("ada")
SESSION = session_id_for(ADA, 1)


async def read_all(feed: SessionFeed, place: Place, *, shown_from: int | None = 0, limit: int = 3) -> list[AnyEvent]:
    """Read to the end, each page from the place that the page before, or its last event, had."""
    events: list[AnyEvent] = []
    while True:
        found = await feed.after(place, shown_from=shown_from, limit=limit)
        events += [event for _, event in found.events]
        if not found.more:
            return events
        place = Place.read(str(found.place)) or Place(0, 0)


def a_log(chance: random.Random) -> list[Commit]:
    """Return commits of one session with one to three events each; some have lost theirs; later ones are another's."""
    commits, sequence = [], 0
    lineage = chance.choice([None, 3])
    for version in range(1, chance.randint(2, 40)):
        events = []
        for _ in range(chance.randint(1, 3)):
            sequence += 1
            event = appended(ADA, sequence, f"m{sequence}")
            late = lineage and version > 10
            events.append(event.model_copy(update={"lineage": lineage}) if late else event)
        commits.append(a_commit(ADA, version, events=[] if chance.random() < 0.3 else events))
    last = len(commits)
    return commits + [a_commit(ADA, last + n, events=[appended(ADA, n, f"x{n}", generation=2)]) for n in (1, 2)]


async def test_a_sequence_is_found_whatever_has_left_the_log() -> None:
    chance = random.Random(7)
    for _ in range(60):
        commits = a_log(chance)
        store = MemoryStore()
        await store.log.append(commits)
        every = [event for one in commits for event in one.events if event.session_id == SESSION]
        head = a_head(ADA, version=len(commits) - 2).model_copy(update={"first_version": 1, "generation": 1})
        feed = SessionFeed(store, SESSION, ())
        for number in (1, chance.randint(1, 60), number_of(chance.randint(1, 60), 3), 10**18):
            wanted = [event.event_id for event in every if event.number >= number]
            found = await read_all(feed, await feed.before(head, number))
            assert [event.event_id for event in found] == wanted


async def test_every_event_is_a_place_to_go_on_from() -> None:
    commits = a_log(random.Random(3))
    store = MemoryStore()
    await store.log.append(commits)
    feed = SessionFeed(store, SESSION, ())
    found = await feed.after(Place(0, 0), shown_from=0, limit=100)
    ids = [event.event_id for _, event in found.events]
    for at, (place, _) in enumerate(found.events):
        assert [event.event_id for event in await read_all(feed, place)] == ids[at + 1 :]


async def test_what_is_gone_by_now_says_nothing() -> None:
    store = MemoryStore()
    events: list[AnyEvent] = [
        begun(ADA),
        appended(ADA, 2, "trimmed"),
        appended(ADA, 3, "taken back"),
        edited(ADA, 4, "taken back", "says more"),
        appended(ADA, 5, "kept"),
        deleted(ADA, 6, "taken back"),
    ]
    await store.log.append([a_commit(ADA, 1, events=events[:3])])
    await store.log.append([a_commit(ADA, 2, events=events[3:])])
    feed = SessionFeed(store, SESSION, ())
    late = await read_all(feed, Place(0, 0), shown_from=3)
    said = "".join(event.model_dump_json() for event in late)
    assert [event.event_id for event in late] == [event.event_id for event in events]
    assert "says kept" in said
    assert not any(gone in said for gone in ("says trimmed", "says taken back", "says more"))
    assert [*await read_all(feed, Place(0, 0), shown_from=None)] == events


async def test_what_a_restore_brought_back_is_no_news() -> None:
    store = MemoryStore()
    restored = a_commit(ADA, 1, events=[begun(ADA)]).model_copy(update={"restored": "restore-1"})
    await store.log.append([restored])
    await store.log.append([a_commit(ADA, 2, events=[appended(ADA, 2, "new")])])
    assert [event.sequence for event in await read_all(SessionFeed(store, SESSION, ()), Place(0, 0))] == [2]


def test_what_is_no_place() -> None:
    for text in ("", "1", "1.", ".1", "-1.1", "1.1.1", "1.1\n", "\u0663.1", "9" * 16 + ".1", "1." + "9" * 19):
        assert Place.read(text) is None
