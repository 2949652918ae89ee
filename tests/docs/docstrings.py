"""Docstrings of the public API: where they are, their examples, and what they leave out."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, get_type_hints

import agentbus.client
import agentbus.contracts.errors
import agentbus.sessions
from agentbus.contracts.errors import AgentBusError
from agentbus.sessions import features
from agentbus.sessions.sections import Sections
from agentbus.sessions.sections.expiry import Expiry
from agentbus.sessions.sections.persistence import Persistence
from agentbus.sessions.sections.sync import Sync
from agentbus.sessions.sections.tracking import Tracking
from tests.docs.markdown import Block, blocks

_SECONDS: Final = frozenset(
    {"cleanup_interval", "expires_in", "idle_timeout", "interval", "lease", "seconds", "time_to_live", "timeout"}
)
_READING: Final = frozenset({"existing", "readable"})
"""Calls of the engine that refuse what is missing or not allowed."""
_SENDING: Final = "carry_out"
"""What the sections have commands carried out by."""
_RAISES_AS: Final = re.compile(r"\bas (`[\w.]+`|extending) does\b|^As `[\w.]+`")


@dataclass(frozen=True, slots=True)
class Documented:
    """A public function, class, method or property."""

    name: str
    thing: Any
    doc: str

    def __str__(self) -> str:
        return self.name


def modules() -> list[ModuleType]:
    """Return the modules of the session API, and the client."""
    inside = pkgutil.walk_packages(agentbus.sessions.__path__, "agentbus.sessions.")
    return [agentbus.client, agentbus.sessions, *(importlib.import_module(one.name) for one in inside)]


def examples() -> list[tuple[str, Block]]:
    """Return the Python examples in docstrings: of modules, and of what is public in them."""
    texts = [(module.__name__, inspect.cleandoc(module.__doc__ or "")) for module in modules()]
    texts += [(one.name, one.doc) for one in documented()]
    return [(name, block) for name, text in texts for block in blocks(text, "python")]


def documented() -> list[Documented]:
    """Return what has to have a docstring: all that is public, but what is documented where it is called."""
    return [one for module in modules() for one in _public(module) if one.thing not in _said_elsewhere()]


def handed_to(function: Any) -> list[Any]:
    """Return the methods of sections that a call of a session manager or system is handed to."""
    sections = get_type_hints(Sections)
    found = []
    for node in ast.walk(_body(function)):
        match node:
            case ast.Attribute(
                value=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr="_sections"), attr=section),
                attr=method,
            ):
                found.append(inspect.unwrap(getattr(sections[section], method)))
            case ast.Attribute(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id="self"), attr="_calls"), args=[ast.Name(id=feature)]
                ),
                attr=method,
            ):
                late = {
                    one.__name__: one for one in (Expiry, Persistence, Sync, Tracking)
                }  # imported when they are made
                section = get_type_hints(getattr(features, feature).make_calls, localns=late)["return"]
                found.append(inspect.unwrap(getattr(section, method)))
            case _:
                pass
    return found


@cache
def _said_elsewhere() -> frozenset[Any]:
    kinds = (agentbus.sessions.SessionManager, agentbus.sessions.SessionSystem)
    calls = [inspect.unwrap(one) for kind in kinds for one in vars(kind).values() if inspect.isfunction(one)]
    return frozenset(method for call in calls if not call.__name__.startswith("_") for method in handed_to(call))


def _public(module: ModuleType) -> Iterator[Documented]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield Documented(f"{module.__name__}.{name}", value, _own_doc(value))
            yield from _members(module, value)
        elif inspect.isfunction(value):
            yield Documented(f"{module.__name__}.{name}", inspect.unwrap(value), inspect.getdoc(value) or "")


def _members(module: ModuleType, kind: type) -> Iterator[Documented]:
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        # An overriding method inherits its port's docstring; `getdoc` finds it.
        yield Documented(
            f"{module.__name__}.{kind.__name__}.{name}",
            inspect.unwrap(function),
            inspect.getdoc(getattr(kind, name)) or "",
        )


def _own_doc(kind: type) -> str:
    """Return the docstring of a class itself; one that a dataclass makes up does not count."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return "" if text.startswith(f"{kind.__name__}(") else text


def faults(one: Documented) -> list[str]:
    """Return what is wrong with a docstring."""
    if not one.doc:
        return ["there is no docstring"]
    found = []
    summary = one.doc.partition("\n\n")[0].rstrip()
    if not summary.endswith((".", ":")):
        found.append("its first paragraph does not end with a full stop")
    if inspect.isfunction(one.thing):
        found += _unsaid_units(one) + _unsaid_errors(one)
    return found


def _unsaid_units(one: Documented) -> list[str]:
    if one.doc.startswith("As `") or "second" in one.doc:
        return []
    names = sorted(_SECONDS & inspect.signature(one.thing).parameters.keys())
    return [f"{', '.join(names)}: in seconds, which it does not say"] if names else []


def _unsaid_errors(one: Documented) -> list[str]:
    if _RAISES_AS.search(one.doc):
        return []
    bodies = [_body(function) for function in (one.thing, *handed_to(one.thing))]
    missing = [name for body in bodies for name in _raised(body) if name not in one.doc]
    found = [f"it raises {name}, which it does not say" for name in missing]
    if any(map(_may_be_refused, bodies)) and not re.search(r"\b[Rr]aise[sd]?\b", one.doc):
        found.append("it may be refused, and does not say with what")
    return found


def _raised(body: ast.AST) -> Sequence[str]:
    """Return the AgentBusErrors that a function raises itself."""
    return [
        node.exc.func.id
        for node in _walk(body)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
        if node.exc.func.id in _errors()
    ]


def _may_be_refused(body: ast.AST) -> bool:
    """Whether a function sends a command, or reads what has to be there, itself."""
    called = {
        node.func.attr for node in _walk(body) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    return bool(called & (_READING | {_SENDING}))


def _body(function: Any) -> ast.AST:
    return ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a function does itself: functions inside it may run elsewhere, where their errors are handled."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _walk(child)


def errors_named(one: Documented) -> set[str]:
    """Return the AgentBusErrors that a docstring names."""
    return set(re.findall(r"\b[A-Z]\w+\b", one.doc)) & _errors().keys()


@cache
def _errors() -> Mapping[str, type]:
    known = {**vars(agentbus.contracts.errors), **vars(agentbus.sessions)}
    return {name: one for name, one in known.items() if inspect.isclass(one) and issubclass(one, AgentBusError)}
