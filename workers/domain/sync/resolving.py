"""Resolving conflicts: a choice between what is held and what is offered, which is written anew."""

from collections.abc import Collection

from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp
from agentbus.contracts.sync import Entry, Resolution
from agentbus.workers.domain.sync.conflicts import Found
from agentbus.workers.domain.sync.fields import Register, Registers, as_entries, key_of, registers_of
from agentbus.workers.domain.sync.merging import order_of


def chosen(state: SessionState, fields: Collection[str], resolution: Resolution, stamp: Stamp) -> tuple[Entry, ...]:
    """Return what a session has once the conflicts of `fields` are resolved.

    All is written under `stamp`, which is later than everything seen: also what stays as it is, so that it wins in the
    linked sessions too. Its base is what was offered, which whoever offered it still has.
    """
    resolved = [one for one in state.conflicts if one.field in fields]
    found = Found(registers_of(state, {key_of(one.field) for one in resolved}))
    offers: dict[str, list[Entry]] = {}
    for one in resolved:
        offers.setdefault(one.field, []).append(one.offered)
    result: Registers = {}
    bases: dict[str, Stamp] = {}
    for field, offered in offers.items():
        new = _choice(found, field, offered, resolution, stamp)
        for pointer, register in new.items():
            found.put(pointer, register)
        result |= new
        bases |= dict.fromkeys(new, max(one.stamp for one in offered))
    return tuple(entry.model_copy(update={"base": bases[entry.field]}) for entry in as_entries(result))


def _choice(found: Found, field: str, offers: list[Entry], resolution: Resolution, stamp: Stamp) -> Registers:
    there = dict(found.around(field))
    if field in found.registers:
        there[field] = found.registers[field]
    best = max(offers, key=lambda one: one.stamp)
    take = resolution.take_offered
    if resolution.strategy is not None:
        order = order_of(resolution.strategy, resolution.priority)
        best = max(offers, key=lambda one: order(one.stamp))
        take = all(order(best.stamp) > order(one.stamp) for one in there.values())
    standing = {pointer: one for pointer, one in there.items() if not one.removed}
    return _taken(standing, best, stamp) if take else _kept(standing, field, stamp)


def _taken(standing: Registers, offered: Entry, stamp: Stamp) -> Registers:
    """Return the offered value, and that nothing is above or below it."""
    new = {pointer: Register(stamp, removed=True) for pointer in standing}
    new[offered.field] = Register(stamp, None if offered.removed else offered.value, offered.removed)
    return new


def _kept(standing: Registers, field: str, stamp: Stamp) -> Registers:
    """Return what is held in the field, or above or below it; that it is removed if there is nothing."""
    new = {pointer: Register(stamp, one.value) for pointer, one in standing.items()}
    return new or {field: Register(stamp, removed=True)}
