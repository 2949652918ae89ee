"""The workers in files: members, epochs and trials."""

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pydantic import Field

from agentbus.contracts.base import Announced
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.files.base import FileSection
from agentbus.storage.files.disk import locked
from agentbus.storage.files.layout import JSON, file_name, make_folders, names_in
from agentbus.storage.files.reading import pretty, read_if_sound
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.paging import to_milliseconds
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_of


class _Epoch(Announced):
    """The last epoch of a partition that was given out."""

    group: str
    partition: Partition
    epoch: int = Field(default=0, ge=0)


class _Attempts(Announced):
    """How often an input was tried."""

    key: str
    count: int = 0  # of an earlier release, which named no attempts
    attempts: frozenset[str] = frozenset()


@end_well(finished)
class FileMembers(FileSection, Members):
    """The section of the workers. The clock is this machine's, as all of them run on it."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        return await self._folder.call(partial(self._heartbeat, group, member, ttl))

    def _heartbeat(self, group: str, member: Member, ttl: float) -> list[Member]:
        folder = self._group(group)
        make_folders(folder)
        with locked([folder]):
            now = datetime.now(UTC)
            seen = pretty(member.model_copy(update={"seen_at": now}))
            self._folder.disk.put(_file(folder, member.worker_id), seen, durable=False)  # After a crash nobody lives.
            members = _members(folder)
            for forgotten in members:
                if _age_ms(forgotten, now) > forgotten_ms(ttl):
                    _file(folder, forgotten.worker_id).unlink(missing_ok=True)
        return _live(members, now, ttl)

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        return await self._folder.call(lambda: _live(_members(self._group(group)), datetime.now(UTC), ttl))

    async def everyone(self, *, ttl: float) -> list[Member]:
        return await self._folder.call(partial(self._everyone, ttl))

    def _everyone(self, ttl: float) -> list[Member]:
        folder = self._folder.layout.members
        return _live([one for group in names_in(folder) for one in _members(folder / group)], datetime.now(UTC), ttl)

    async def leave(self, group: str, worker: WorkerId) -> None:
        await self._folder.call(lambda: _file(self._group(group), worker).unlink(missing_ok=True))

    def _group(self, group: str) -> Path:
        return self._folder.layout.members / file_name(group)

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        return await self._folder.call(partial(self._take_epoch, group, partition, above))

    def _take_epoch(self, group: str, partition: Partition, above: int) -> int:
        folder = self._folder.layout.epochs / file_name(group)
        make_folders(folder)
        with locked([folder]):
            path = _file(folder, str(partition))
            last = read_if_sound(path, _Epoch)  # After a lower one the fences lead above those of the heads.
            taken = _Epoch(group=group, partition=partition, epoch=max(last.epoch if last else 0, above) + 1)
            self._folder.disk.put(path, pretty(taken))
            if last is None:
                self._folder.disk.sync([self._folder.layout.epochs])
        return taken.epoch

    async def epochs(self) -> list[Epoch]:
        return await self._folder.call(self._epochs)

    def _epochs(self) -> list[Epoch]:
        groups = [self._folder.layout.epochs / name for name in names_in(self._folder.layout.epochs)]
        found = (read_if_sound(path, _Epoch) for group in groups for path in group.glob(f"*{JSON}"))
        return sorted(Epoch(one.group, one.partition, one.epoch) for one in found if one)

    async def begin_trial(self, key: str) -> int:
        return await self._folder.call(partial(self._begin_trial, *attempt_of(key)))

    def _begin_trial(self, key: str, attempt: str) -> int:
        path = _file(self._folder.layout.trials, key)
        with locked([self._folder.layout.trials]):
            last = read_if_sound(path, _Attempts) or _Attempts(key=key)
            begun = last.model_copy(update={"attempts": last.attempts | {attempt}})
            self._folder.disk.put(path, pretty(begun))
        return begun.count + len(begun.attempts)

    async def end_trial(self, key: str) -> None:
        await self._folder.call(partial(self._end_trial, key))

    def _end_trial(self, key: str) -> None:
        with locked([self._folder.layout.trials]):
            path = _file(self._folder.layout.trials, key)
            if path.exists():
                path.unlink()
                self._folder.disk.sync([self._folder.layout.trials])


def _file(folder: Path, name: str) -> Path:
    return folder / (file_name(name) + JSON)


def _members(folder: Path) -> list[Member]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (read_if_sound(folder / name, Member) for name in names if name.endswith(JSON))
    return [member for member in found if member]


def _live(members: list[Member], now: datetime, ttl: float) -> list[Member]:
    live = (member for member in members if _age_ms(member, now) <= ttl_ms(ttl))
    return sorted(live, key=lambda member: member.worker_id)


def _age_ms(member: Member, now: datetime) -> int:
    return to_milliseconds(now) - to_milliseconds(member.seen_at or now)
