"""The store contract of workers: members, epochs and trials."""

import asyncio
from datetime import timedelta

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId, WorkerStatus
from agentbus.storage.port import Store, attempt_at
from agentbus.testing.builders import NOON, a_member
from agentbus.testing.conformance.inside import age_heartbeat

HOUR = 3600.0
GROUP = "sessions"


def names(members: list[Member]) -> list[str]:
    return [member.worker_id for member in members]


class StoreMembersSuite:
    """What every store must do for workers. Subclasses define the fixture `store`."""

    # Members

    async def test_heartbeats_show_the_group_by_worker_id(self, store: Store) -> None:
        assert await store.members.live(GROUP, ttl=HOUR) == []

        for name in ("w2", "w10", "W1"):
            await store.members.heartbeat(GROUP, a_member(name), ttl=HOUR)
        live = await store.members.heartbeat(GROUP, a_member("w2"), ttl=HOUR)

        assert names(live) == ["W1", "w10", "w2"]
        assert await store.members.live(GROUP, ttl=HOUR) == live

    async def test_member_comes_back_whole(self, store: Store) -> None:
        odd = Member(
            worker_id=WorkerId("$worker.'1'"),
            host="$host.😀",
            pid=2**31 - 1,
            started_at=NOON,
            status=WorkerStatus.DRAINING,
            owns=(Partition(3), Partition(0)),
            stands_by=(Partition(1),),
            stopped=(Partition(63),),
        )

        [live] = await store.members.heartbeat(GROUP, odd, ttl=HOUR)

        assert live.model_copy(update={"seen_at": None}) == odd
        assert await store.members.live(GROUP, ttl=HOUR) == [live]

    async def test_heartbeat_replaces_what_was_said_before(self, store: Store) -> None:
        await store.members.heartbeat(GROUP, a_member(owns=[1, 2], host="old"), ttl=HOUR)

        [live] = await store.members.heartbeat(GROUP, a_member(status=WorkerStatus.DRAINING), ttl=HOUR)

        assert live.model_copy(update={"seen_at": None}) == a_member(status=WorkerStatus.DRAINING)

    async def test_seen_is_told_by_the_clock_of_the_store(self, store: Store) -> None:
        pretended = a_member().model_copy(update={"seen_at": NOON})
        before = (await store.info()).server_time

        [live] = await store.members.heartbeat(GROUP, pretended, ttl=HOUR)

        assert live.seen_at is not None
        after = (await store.info()).server_time
        assert before - timedelta(milliseconds=1) <= live.seen_at <= after

    async def test_member_lives_for_the_ttl(self, store: Store) -> None:
        for name in ("fresh", "late", "gone"):
            await store.members.heartbeat(GROUP, a_member(name), ttl=HOUR)
        await age_heartbeat(store, GROUP, "late", HOUR / 2)
        await age_heartbeat(store, GROUP, "gone", HOUR + 1)

        assert names(await store.members.live(GROUP, ttl=HOUR)) == ["fresh", "late"]
        assert names(await store.members.live(GROUP, ttl=HOUR / 3)) == ["fresh"]
        assert names(await store.members.live(GROUP, ttl=2 * HOUR)) == ["fresh", "gone", "late"]
        assert names(await store.members.heartbeat(GROUP, a_member("fresh"), ttl=HOUR)) == ["fresh", "late"]
        assert names(await store.members.heartbeat(GROUP, a_member("gone"), ttl=HOUR)) == ["fresh", "gone", "late"]

    async def test_own_heartbeat_counts_however_short_the_ttl(self, store: Store) -> None:
        await store.members.heartbeat(GROUP, a_member("other"), ttl=HOUR)
        await age_heartbeat(store, GROUP, "other", 1)

        assert names(await store.members.heartbeat(GROUP, a_member("me"), ttl=0)) == ["me"]

    async def test_ttl_may_be_endless(self, store: Store) -> None:
        endless = float("inf")

        assert names(await store.members.heartbeat(GROUP, a_member(), ttl=endless)) == ["worker"]
        assert names(await store.members.live(GROUP, ttl=endless)) == ["worker"]

    async def test_leaving_is_seen_at_once(self, store: Store) -> None:
        await store.members.heartbeat(GROUP, a_member("stays"), ttl=HOUR)
        await store.members.heartbeat(GROUP, a_member("goes"), ttl=HOUR)

        await store.members.leave(GROUP, WorkerId("goes"))
        await store.members.leave(GROUP, WorkerId("goes"))
        await store.members.leave("unknown", WorkerId("goes"))

        assert names(await store.members.live(GROUP, ttl=HOUR)) == ["stays"]

    async def test_groups_are_separate(self, store: Store) -> None:
        for group in ("a", "aa", "b", "$a"):
            await store.members.heartbeat(group, a_member("same", host=group), ttl=HOUR)
            await store.members.heartbeat(group, a_member(f"of {group}"), ttl=HOUR)

        await store.members.leave("aa", WorkerId("same"))

        assert [member.host for member in await store.members.live("a", ttl=HOUR)] == ["host", "a"]
        assert names(await store.members.live("a", ttl=HOUR)) == ["of a", "same"]
        assert names(await store.members.live("aa", ttl=HOUR)) == ["of aa"]
        assert names(await store.members.live("$a", ttl=HOUR)) == ["of $a", "same"]

    async def test_first_heartbeats_may_race(self, store: Store) -> None:
        beats = [store.members.heartbeat(GROUP, a_member(f"w{n % 4}"), ttl=HOUR) for n in range(20)]

        await asyncio.gather(*beats)

        assert names(await store.members.live(GROUP, ttl=HOUR)) == ["w0", "w1", "w2", "w3"]

    # Epochs

    async def test_epochs_count_up_from_one(self, store: Store) -> None:
        one, two = Partition(1), Partition(2)

        assert [await store.members.take_epoch(GROUP, one) for _ in range(3)] == [1, 2, 3]
        assert await store.members.take_epoch(GROUP, two) == 1
        assert await store.members.take_epoch("other", one) == 1
        assert await store.members.take_epoch(GROUP, one) == 4

    async def test_an_epoch_may_have_to_be_above_one_seen_elsewhere(self, store: Store) -> None:
        one, two = Partition(1), Partition(2)

        assert await store.members.take_epoch(GROUP, one, above=1100) == 1101
        assert await store.members.take_epoch(GROUP, one, above=7) == 1102
        assert await store.members.take_epoch(GROUP, one) == 1103
        assert await store.members.take_epoch(GROUP, two) == 1
        assert await store.members.take_epoch(GROUP, two, above=1) == 2

    async def test_racing_workers_take_different_epochs(self, store: Store) -> None:
        epochs = await asyncio.gather(*(store.members.take_epoch(GROUP, Partition(0)) for _ in range(50)))

        assert sorted(epochs) == list(range(1, 51))
        assert await store.members.take_epoch(GROUP, Partition(0)) == 51

    # Trials

    async def test_trials_are_counted_until_they_end(self, store: Store) -> None:
        assert [await store.members.begin_trial(attempt_at("one", attempt)) for attempt in "abc"] == [1, 2, 3]
        assert [await store.members.begin_trial(attempt_at("one", attempt)) for attempt in "abc"] == [3, 3, 3], (
            "asked again for the answer"
        )
        assert await store.members.begin_trial(attempt_at("$two.😀", "a")) == 1

        await store.members.end_trial("one")
        await store.members.end_trial("one")
        await store.members.end_trial("unknown")

        assert await store.members.begin_trial(attempt_at("one", "a")) == 1
        assert await store.members.begin_trial(attempt_at("$two.😀", "$b.😀")) == 2

    async def test_a_trial_that_names_no_attempt_is_one_each_time(self, store: Store) -> None:
        assert [await store.members.begin_trial("one") for _ in range(3)] == [1, 2, 3]
        assert await store.members.begin_trial(attempt_at("one", "a")) == 4
        assert await store.members.begin_trial("on") == 1
        await store.members.end_trial("one")
        assert await store.members.begin_trial("one") == 1
        assert await store.members.begin_trial("on") == 2

    async def test_racing_trials_count_each(self, store: Store) -> None:
        counts = await asyncio.gather(
            *(store.members.begin_trial(attempt_at("same", str(number))) for number in range(20))
        )

        assert sorted(counts) == list(range(1, 21))


class DurableStoreMembersSuite(StoreMembersSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_workers_of_two_processes_see_each_other(self, store: Store, reopened: Store) -> None:
        await store.members.heartbeat(GROUP, a_member("here"), ttl=HOUR)

        assert names(await reopened.members.heartbeat(GROUP, a_member("there"), ttl=HOUR)) == ["here", "there"]
        assert names(await store.members.live(GROUP, ttl=HOUR)) == ["here", "there"]

    async def test_epochs_of_two_processes_differ(self, store: Store, reopened: Store) -> None:
        taking = [one.members.take_epoch(GROUP, Partition(0)) for one in (store, reopened) for _ in range(10)]

        assert sorted(await asyncio.gather(*taking)) == list(range(1, 21))

    async def test_counts_are_found_again(self, store: Store, reopened: Store) -> None:
        await store.members.take_epoch(GROUP, Partition(0))
        await store.members.begin_trial(attempt_at("one", "a"))
        await store.close()

        assert await reopened.members.take_epoch(GROUP, Partition(0)) == 2
        assert await reopened.members.begin_trial(attempt_at("one", "b")) == 2
