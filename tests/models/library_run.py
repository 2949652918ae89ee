"""Playing the library against its model: steps by seed, and a look at what came of each."""

import asyncio
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from agentbus.contracts.errors import AgentBusError
from agentbus.sessions import SessionSystem
from tests.models.finding import Finding, Model
from tests.models.library_deeds import DEEDS, expiry_rule, make, spoken, sync_policy
from tests.models.library_look import EVERYBODY, differences, plain
from tests.models.library_model import Library, Options, conversation_at, conversation_key
from tests.models.library_moves import ATOMIC, RULES, TEMPLATES, THEMES, Copy, Draw, Move, drawn
from tests.models.library_world import Services, World, a_world
from tests.tour.world import Mode

LOOK_EVERY: Final = 50
"""Steps after which everything is looked at; twice as many where that is slow."""
COPIES: Final = 6
"""How many copies of sessions somebody holds at most."""
REPEATED: Final = ("add_message_to_session", "add_message", "say", "change_said", "react")
"""Calls that are known again by something else than a request's id."""


Candidate = tuple[tuple[int, int], Library, dict[int, tuple[str, Any]], dict[int, bool]]
"""What two calls at once may have made: the order, the library after it, what each gave, and whether it changed it."""


class _Differs(Exception):
    """The library is not what the model says."""


@dataclass
class Play:
    """A run of steps in one world."""

    world: World
    library: Library
    seed: int
    copies: list[Copy] = field(default_factory=list)
    tokens: dict[tuple[str, int], int] = field(default_factory=dict)
    """The tokens of locks, by conversation and number."""
    codes: list[str] = field(default_factory=list)
    """Claim codes as they are written, in the order in which they were given out."""
    done: list[Move] = field(default_factory=list)
    """What was carried out, to be repeated."""
    said: list[str] = field(default_factory=list)
    looks: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """How often each call was carried out."""

    @property
    def theme(self) -> Sequence[str]:
        """What the world is about."""
        return THEMES[self.seed % len(THEMES)]

    async def step(self, number: int) -> None:
        """Take a step: one call, one again, two at once, or a copy is read. Raises _Differs."""
        random = Random(f"{self.seed}/{number}")
        self.world.clock.advance(timedelta(milliseconds=random.randint(1, 50)))
        if random.random() < 0.06:
            self.world.clock.advance(passed := timedelta(seconds=random.choice((30, 700, 4000, 90_000))))
            self.said.append(f"{number}: {passed} pass")
        draw = Draw(random, self.library, self.copies, f"{self.seed}-{number}", self.codes)
        manager = random.choice(self.world.managers)
        what = random.choices(("call", "again", "two", "copy"), (75, 5, 10, 10))[0]
        if what == "again" and self.done and not self._holds_to_limit(again := draw.pick(self.done)):
            await self._again(number, manager, again)
        elif what == "two" and (focus := draw.session()):
            draws = draw, Draw(random, self.library, self.copies, f"{self.seed}-{number}b")
            draw.focus = draws[1].focus = focus
            # Where there is a limit, creating a session is several changes.
            limited = self.library.options.max_sessions_per_user is not None
            names = [one for one in ATOMIC if not (limited and one == "create_session")]
            moves = [drawn(one, names) for one in draws]
            await self.two(number, moves)
        elif what == "copy" and (found := draw.session()):
            await self._copy(number, manager, found.session_id)
        else:
            await self._one(number, manager, drawn(draw, list(RULES), self.theme))

    async def look(self, named: set[str] | None = None, *, by_both: bool = False) -> None:
        """Compare what a manager, or both, shows of these sessions, or of all. Raises _Differs.

        What has to be read from a disk or a server takes most of a step's time. There one manager looks at a time, and
        for one user, until both do at the end.
        """
        self.looks += 1
        slow = self.world.is_slow
        both = by_both or (named is None and not slow)
        users = EVERYBODY if by_both or not slow else (EVERYBODY[self.looks % len(EVERYBODY)],)
        for manager in self.world.managers if both else (self.world.managers[self.looks % 2],):
            if found := await differences(self.library, manager, named, users):
                raise _Differs([f"by manager {self._who(manager)}, {line}" for line in found])

    async def _one(self, number: int, manager: SessionSystem, move: Move) -> None:
        before = self._shown(move, self.library)
        meant = _expected(move, self.library)
        given = await self._do(manager, move)
        self.said.append(f"{number}: {self._who(manager)}.{move} -> {_short(given)}")
        if given != meant:
            raise _Differs([f"{move.name}: it {_told(given)}, but is to have {_told(meant)}"])
        self._note(move, given, changed=before != self._shown(move, self.library))
        await self.look(self._looked_at(move, self.library))

    async def _again(self, number: int, manager: SessionSystem, move: Move) -> None:
        """Repeat a call: whatever it answers, nothing changes."""
        given = await self._do(manager, move)
        self.said.append(f"{number}: again {self._who(manager)}.{move} -> {_short(given)}")
        self.counts["again"] += 1
        if given[0] == "broke" or given == ("raised", "RequestReused"):
            raise _Differs([f"{move.name} again: it {_told(given)}"])
        if given[0] == "gave":
            self.library.made_again(move.name, move.args)
        await self.look(move.sessions)

    async def two(self, number: int, moves: Sequence[Move]) -> None:
        """Make two calls at once: what comes of it is what one of the two orders makes, or they pass each other by.

        Raises _Differs.
        """
        by_itself = self.library.options.checkpoint_every or any(one.name == "delete_session" for one in moves)
        lates = (False, True) if by_itself else (False,)
        candidates = [self._in_order(moves, order, late) for late in lates for order in ((0, 1), (1, 0))]
        candidates += self._passing(moves)
        given = await asyncio.gather(
            *(self._do(one, move) for one, move in zip(self.world.managers, moves, strict=True))
        )
        calls = zip(self.world.managers, moves, given, strict=True)
        self.said += [f"{number}: at once {self._who(one)}.{move} -> {_short(gave)}" for one, move, gave in calls]
        self.counts["two"] += 1
        # What one order leaves out has to be looked at too: a session that begins in the other one alone.
        named = {one for _, library, *_ in candidates for move in moves for one in self._changed_by(move, library)}
        unlike: list[str] = []
        for order, library, expected, changed in candidates:
            if [_answer(expected[0]), _answer(expected[1])] != [_answer(one) for one in given]:
                unlike.append(f"order {order}: {_short(expected[0])}, {_short(expected[1])}")
                continue
            earlier, self.library = self.library, library
            try:
                await self.look(named)
            except _Differs as error:
                self.library = earlier
                unlike += [f"order {order}: {line}" for line in error.args[0]]
            else:
                for index, move in enumerate(moves):
                    self._note(move, given[index], changed=changed[index])
                return
        raise _Differs(["what came of two at once is no order of them", *unlike])

    def _in_order(self, moves: Sequence[Move], order: tuple[int, int], late: bool) -> Candidate:
        """Have the model make calls one after the other; `late`: what comes by itself after one comes after both."""
        library = Library.of(self.library)
        if late:
            library.options = replace(library.options, checkpoint_every=None)
        expected, changed = dict[int, tuple[str, Any]](), dict[int, bool]()
        for index in order:
            before = self._shown(moves[index], library)
            expected[index] = _expected(moves[index], library)
            changed[index] = before != self._shown(moves[index], library)
        library.options = self.library.options
        for move in moves if late else ():
            library.made_again(move.name, move.args)
        return order, library, expected, changed

    def _passing(self, moves: Sequence[Move]) -> list[Candidate]:
        """Have a child be created as its parent is deleted, and neither know of the other: it is there without one.

        Or it is deleted with its parent, before whoever creates it is told of it.
        """
        found: list[Candidate] = []
        for order in ((0, 1), (1, 0)):
            create, delete = (moves[index] for index in order)
            parent = create.kwargs.get("parent_id")
            if (create.name, delete.name) != ("create_session", "delete_session") or parent != delete.args[0]:
                continue
            library = Library.of(self.library)
            outcome, child = _expected(create, library)
            if outcome == "gave":
                library.comes_alone(child["session_id"], parent)
                expected = {order[0]: (outcome, child), order[1]: _expected(delete, library)}
                found.append((order, library, expected, {0: True, 1: True}))
                _, both, answers, changed = self._in_order(moves, order, late=False)
                if (created := both.find(child["session_id"])) and not created.is_there:
                    refused = {order[0]: _expected(create, Library.of(both))}
                    found.append((order, both, answers | refused, changed))
        return found

    async def _copy(self, number: int, manager: SessionSystem, session_id: str) -> None:
        context = await manager.get_session(session_id)
        found = self.library.find(session_id)
        self.said.append(f"{number}: {self._who(manager)} reads a copy of {session_id}")
        if context is None or found is None:
            if found and found.is_there:
                raise _Differs([f"session {session_id} is not there"])
            return
        self.copies.append(Copy(context, found.copy()))
        del self.copies[:-COPIES]

    async def _do(self, manager: SessionSystem, move: Move) -> tuple[str, Any]:
        """Make a call; return what it gave, or the error that it raised."""
        try:
            return "gave", plain(await self._call(manager, move), self.library.options.max_history)
        except AgentBusError as error:
            return "raised", type(error).__name__
        except Exception as error:
            return "broke", f"{type(error).__name__}: {error}"

    async def _call(self, manager: SessionSystem, move: Move) -> Any:
        args, kwargs = list(move.args), dict(move.kwargs)
        if move.copy:
            context = deepcopy(move.copy.context)
            make(context, args.pop())
            args = [context]
            kwargs["fence"] = self._token(move.copy.read.session_id, kwargs["fence"])
            return await manager.update_session(*args, **kwargs)
        if "fence" in kwargs:
            kwargs["fence"] = self._token(args[0], kwargs["fence"])
        if move.name == "add_message_to_session":
            args[1] = spoken(args[1])
        if move.name == "add_expiry_rule":
            args[0] = expiry_rule(args[0])
        if move.name == "set_sync_policy" and args[0]:
            args[0] = sync_policy(args[0])
        if move.name in ("renew_lock", "release_lock"):
            args[1] = self._token(args[0], args[1])
        if move.name in DEEDS:
            return await DEEDS[move.name](self.world, manager, *args, **kwargs)
        given = await getattr(manager, move.name)(*args, **kwargs)
        if move.name == "acquire_lock":
            self.tokens[move.conversation, len([one for one in self.tokens if one[0] == move.conversation]) + 1] = given
            return "token"
        if move.name == "create_claim_code":
            self.codes.append(given.code)
        return given

    def _token(self, session_id: str, number: int | None) -> int | None:
        return None if number is None else self.tokens[session_id.partition(".")[0], number]

    def _shown(self, move: Move, library: Library) -> list[Any]:
        """Return what the model shows of the sessions that a call is about, and how many there are."""
        found = [library.find(one) for one in sorted(self._beside(move, library))]
        return [len(list(library.held.sessions)), *(plain(one) for one in found)]

    def _note(self, move: Move, given: tuple[str, Any], *, changed: bool) -> None:
        if given[0] != "gave":
            return
        self.counts[move.name] += 1
        if move.copy in self.copies:
            self.copies.remove(move.copy)
        # What changed nothing was not carried out, as far as anybody can tell: made again it may well change something.
        if changed and ("request_id" in move.kwargs or move.name in REPEATED):
            self.done.append(move)

    def _holds_to_limit(self, move: Move) -> bool:
        """Whether a creation made again would close sessions: messages began more than there may be."""
        limit = self.library.options.max_sessions_per_user
        live = Counter(one.owner for one in self.library.sessions() if one.goes_on(self.library.now))
        return "create" in move.name and limit is not None and max(live.values(), default=0) > limit

    def _beside(self, move: Move, library: Library) -> set[str]:
        """Return the sessions of the conversations that a call is about."""
        args = move.args
        where = conversation_at(args[0]) if args and isinstance(args[0], tuple) else ""
        if move.name == "create_session":
            where = conversation_key(args[0], args[1], args[2], move.kwargs["request_id"])
        conversations = {where, *(one.partition(".")[0] for one in move.sessions)}
        held = library.held.conversations
        return {one.session_id for key in conversations if key in held for one in held[key].sessions}

    def _changed_by(self, move: Move, library: Library) -> set[str]:
        """Return the sessions and templates that a call may have changed.

        Of two at once all of these have to be looked at: they alone tell which of the two was the last.
        """
        return self._beside(move, library) | (move.sessions & {*TEMPLATES})

    def _looked_at(self, move: Move, library: Library) -> set[str]:
        """Return what to look at after a call: what it may have changed; where that is slow, one earlier session."""
        changed = self._changed_by(move, library)
        if not self.world.is_slow:
            return changed
        current = {one.current.session_id for one in library.held.conversations.values()}
        earlier = sorted(self._beside(move, library) - move.sessions - current)
        return (changed - {*earlier}) | {*earlier[self.looks % max(1, len(earlier)) :][:1]}

    def _who(self, manager: SessionSystem) -> str:
        return ("one", "two")[self.world.managers.index(manager)]


def _answer(outcome: tuple[str, Any]) -> tuple[str, Any]:
    """Return what a call answers for sure: a session that it gives may be shown as the other call left it."""
    value = outcome[1]
    return (outcome[0], value["session_id"]) if isinstance(value, dict) and "session_id" in value else outcome


def _short(outcome: tuple[str, Any]) -> str:
    value = outcome[1]
    if isinstance(value, dict) and "session_id" in value:
        return f"session {value['session_id']}, {value['status']}"
    return f"{len(value)} items" if isinstance(value, list) else repr(value)


def _told(outcome: tuple[str, Any]) -> str:
    return f"{outcome[0]} {outcome[1]}"


def _expected(move: Move, library: Library) -> tuple[str, Any]:
    try:
        given = move.expect(library)
    except AgentBusError as error:
        return "raised", type(error).__name__
    if move.name == "acquire_lock":
        return "gave", "token"
    return "gave", plain(given, library.options.max_history)


def options_of(seed: int) -> Options:
    """Return what the managers of a seed's world go by."""
    random = Random(f"{seed}/options")
    return Options(
        max_history=random.choice((3, 50)),
        idle_timeout=random.choice((600.0, 3600.0)),
        time_to_live=random.choice((None, 7200.0)),
        max_sessions_per_user=random.choice((None, None, 4)),
        close_oldest=random.choice((True, False)),
        checkpoint_every=random.choice((None, 3)),
    )


async def play(
    mode: Mode, seed: int, steps: Sequence[int], services: Services, counts: Counter[str] | None = None
) -> Finding | None:
    """Take steps in a new world; return the first finding."""
    with tempfile.TemporaryDirectory() as folder:
        options = options_of(seed)
        async with a_world(mode, Path(folder), services, options) as world:
            run = Play(world, Library(world.clock, options), seed)
            taken: list[int] = []
            look_every = LOOK_EVERY * 2 if world.is_slow else LOOK_EVERY
            try:
                for number in steps:
                    taken.append(number)
                    await run.step(number)
                    if number % look_every == look_every - 1:
                        await run.look()
                await run.look(by_both=True)
            except _Differs as error:
                return Finding(Model.LIBRARY, mode, seed, tuple(taken), tuple(run.said), tuple(error.args[0]))
            except Exception as error:
                wrong = "".join(traceback.format_exception(error))
                return Finding(Model.LIBRARY, mode, seed, tuple(taken), tuple(run.said), (wrong,))
            finally:
                if counts is not None:
                    counts.update(run.counts)
    return None
