"""The state machine of the installation's sessions: read, drawn, set."""

import re
from collections.abc import Iterator
from typing import Final, Literal

from pydantic import ValidationError

from agentbus.contracts.documents import json_in, toml_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.machine import StateMachine, StateTransition, TransitionGuard, by_itself
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.text import few_of
from agentbus.workers.domain.checks.states import DEFAULT
from agentbus.workers.installation.machine import set_machine, state_machine

__all__ = ["StateMachine", "drawn_machine", "parsed_machine", "set_machine", "state_machine"]

_WORDS: Final = re.compile(r"[^\w.,/ -]+")
_SILENT: Final = frozenset({SessionStatus.ACTIVE, SessionStatus.IDLE})


def parsed_machine(text: str, form: Literal["json", "toml"]) -> StateMachine:
    """Return the machine of a document. Raises ConfigurationError naming what is wrong."""
    read = json_in if form == "json" else toml_in
    try:
        document = read(text)
    except ValueError as error:
        raise ConfigurationError(f"the state machine is not {form.upper()}: {error}") from None
    try:
        return StateMachine.model_validate(document)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = [": ".join([*_place(item["loc"]), item["msg"]]) for item in items]
        raise ConfigurationError(f"the state machine: {few_of(wrong)}") from None


def drawn_machine(machine: StateMachine = DEFAULT) -> str:
    """Return the states of a session and the ways between them as a Mermaid state diagram.

    At a way stands what has to be so, `[by owner, after 60 s]`, and who is told, `/ handler`.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {SessionStatus.ACTIVE}"]
    lines += [f'    state "{one.name} ({one.status})" as {one.name}' for one in machine.states]
    for state, status in machine.statuses.items():
        alone = by_itself(status) - (set() if state == status else _SILENT)
        for other in sorted({*machine.leads_from(state), *alone} - {state}):
            ways = machine.ways.get((state, other), ())
            label = _label(ways) if ways else "" if other == SessionStatus.DELETED else "by itself"
            lines.append(f"    {state} --> {other}{f' : {label}' if label else ''}")
    return "\n".join([*lines, f"    {SessionStatus.DELETED} --> [*]"])


def _label(ways: tuple[StateTransition, ...]) -> str:
    return " or ".join(filter(None, dict.fromkeys(map(_told, ways))))


def _told(way: StateTransition) -> str:
    asked = ", ".join(_asked(way.guard)) if way.guard else ""
    return " ".join(filter(None, [f"[{asked}]" if asked else "", f"/ {way.handler}" if way.handler else ""]))


def _asked(guard: TransitionGuard) -> Iterator[str]:
    """Yield what a guard asks for, in words that mean nothing to Mermaid."""
    if guard.by:
        yield f"by {_any_of(guard.by)}"
    if guard.types:
        yield _any_of(guard.types)
    if guard.min_age is not None:
        yield f"after {guard.min_age:g} s"
    if guard.min_messages is not None:
        yield f"after {guard.min_messages} messages"
    if named := sorted({*guard.data, *guard.present}):
        yield f"by data {_any_of(tuple(named), ' and ')}"
    for words in (guard.platforms, guard.session_types, guard.agent_ids):
        if words:
            yield f"on {_any_of(words)}" if words is guard.platforms else _any_of(words)
    if guard.tags:
        yield f"tagged {_any_of(guard.tags, ' and ')}"


def _any_of(words: tuple[str, ...], between: str = " or ") -> str:
    return between.join(_WORDS.sub(" ", word) for word in words)


def _place(place: tuple[int | str, ...]) -> list[str]:
    return [".".join(str(part) for part in place)] if place else []
