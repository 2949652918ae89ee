"""A store with one of everything in it that a store can keep."""

from collections.abc import Sequence

from agentbus.contracts.ids import Partition, session_id_for
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.profile import Profile
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.port import LISTED_BODY, Store, attempt_at
from tests.contract.store_inside import age_heartbeat
from tests.harness.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_member,
    a_moment,
    a_parked,
    appended,
    begun,
    data_set,
    edited,
)

_DAY = 86_400.0
_PROFILE = Profile(
    owner="$owner",
    agent_id="agent",
    parent_id=session_id_for(a_conversation("parent"), 1),
    tags=("x", "$x.y"),
    idle_timeout=60,
)


async def fill(store: Store, *, conversations: int = 3, keys: Sequence[str] = ("$a.b", "😀", "x" * 255)) -> None:
    """Put one of everything into a store, and some conversations; nobody is at work on it."""
    for number in range(conversations):
        await _fill_conversation(store, f"conversation-{number}", messages=number + 1)
    await _fill_odd(store)
    await _fill_parked(store)
    for kind in RecordKind:
        if kind is not RecordKind.MIGRATION:
            await store.records.put_many([_record(kind, key) for key in keys])
    for group, partition, above in (("agentbus", 0, 0), ("agentbus", 63, 41), ("agentbus/sync", 0, 0)):
        await store.members.take_epoch(group, Partition(partition), above=above)
    await store.members.heartbeat("agentbus", a_member("dead"), ttl=_DAY)
    await age_heartbeat(store, "agentbus", "dead", 3600)
    await store.members.begin_trial(attempt_at("input", "attempt"))
    for name, token in (("lock", 1), ("lock", 2), ("$other.", 1)):
        assert await store.locks.acquire(name, ttl=_DAY)
        await store.locks.release(name, token)
    assert await store.locks.acquire("held", ttl=_DAY)


async def _fill_conversation(store: Store, name: str, *, messages: int) -> None:
    one = a_conversation(name)
    await store.log.append([a_commit(one, 1, events=[begun(one)], epoch=7)])
    for version in range(2, messages + 2):
        await store.log.append([a_commit(one, version, events=[appended(one, version, f"m{version}")])])
    head = a_head(one, version=messages + 1, data={"a.b": [1.0, 1, True, None, "😀"]})
    await store.heads.save([head.model_copy(update={"profile": _PROFILE, "identity": "$ann"})])


async def _fill_odd(store: Store) -> None:
    """Two sessions of a conversation, one of them deleted, of which something was taken out; a head that is behind."""
    one, behind = a_conversation("odd"), a_conversation("behind")
    await store.log.append([a_commit(one, 1, events=[begun(one), appended(one, 2, "m")])])
    await store.log.append([a_commit(one, 2, events=[edited(one, 3, "m", "new")])])
    await store.log.append([a_commit(one, 3, inputs=[], events=[begun(one, generation=2)])])
    await store.log.replace([a_commit(one, 1, inputs=["other"])])
    gone = a_head(one, generation=1, version=2, status=SessionStatus.DELETED)
    await store.heads.save([gone, a_head(one, generation=2, version=3, first_version=3)])
    await store.log.append([a_commit(behind, 1, events=[begun(behind)])])
    await store.heads.save([a_head(behind, version=1)])
    await store.log.append([a_commit(behind, 2, events=[data_set(behind, 2, {"k": 2**63 - 1, "f": 0.1})])])


async def _fill_parked(store: Store) -> None:
    for number, status in enumerate(ParkedStatus):
        parked = a_parked(f"parked-{status}", at=number, conversation=a_conversation("odd"), attempts=number + 3)
        await store.parked.put(parked)
        await store.parked.set_status(parked.parked_id, status)
    large = a_parked("large", body=bytes(range(256)) * (LISTED_BODY // 128))
    await store.parked.put(large)
    await store.parked.put(large.model_copy(update={"reason": "again"}))


def _record(kind: RecordKind, key: str) -> Record:
    data = {"$k.": {"of": kind.value}, "list": [1.0, 1, False], "text": "\u0000 é"}
    due = a_moment(5) if len(key) > 1 else None
    return Record(kind=kind, key=key, group=f"of {kind}", created_at=a_moment(1), data=data, revision=3, due_at=due)
