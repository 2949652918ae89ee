"""What an await may be surrounded by: reading the source for what swallows a cancellation or waits without an end."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ANYTHING = {"Exception", "BaseException", "CancelledError"}
_OF_A_LOST_CALL = {
    "AgentBusError",
    "ArchiveError",
    "ArchiveUnavailable",
    "BrokerUnavailable",
    "BusError",
    "ConnectionError",
    "DRIVER_ERRORS",
    "OSError",
    "PyMongoError",
    "SQLAlchemyError",
    "StoreError",
    "StoreUnavailable",
    "TRANSIENT",
}
"""What is raised for a call that was interrupted: a driver or a clean-up may raise it in a cancellation's place."""
_ASKS = {"raise_if_cancelled", "survived"}
_HEEDFUL = {"still_wanted", "keep_trying"}
"""They raise the cancellation in place of what took it."""
_BOUNDED = {"afterwards", "ended", "in_turn", "all_of", "aclose", "close", "stop", "close_channel", "close_connection"}
"""What may be awaited in a `finally`: clean-ups with a deadline. Whatever is called `close` has one."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something that must not be, and where."""

    place: str
    """The name of the function, with that of its class."""
    line: int
    what: str


def findings(source: str) -> list[Finding]:
    """Return what is wrong in a file."""
    return sorted(
        Finding(place, line, what)
        for place, function in _functions(ast.parse(source))
        for line, what in (
            *_swallowed(function),
            *_suppressed(function),
            *_clean_ups(function),
            *_orphans(function),
            *_unbounded(function),
        )
    )


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{node.name}"
            if isinstance(node, ast.AsyncFunctionDef):
                yield name, node
            yield from _functions(node, f"{name}.")
        else:
            yield from _functions(node, prefix)


def _own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield these nodes and all in them, but what functions inside do."""
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from _own(ast.iter_child_nodes(node))


def _awaits(nodes: Iterable[ast.AST]) -> bool:
    """Whether something is awaited here, other than what heeds a cancellation itself."""
    return any(
        isinstance(node, ast.AsyncFor | ast.AsyncWith)
        or (isinstance(node, ast.Await) and _called(node.value) not in _HEEDFUL)
        for node in _own(nodes)
    )


def _called(node: ast.AST) -> str:
    """Return the last name of what is called."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    found = {node.id for one in nodes for node in ast.walk(one) if isinstance(node, ast.Name)}
    return found | {node.attr for one in nodes for node in ast.walk(one) if isinstance(node, ast.Attribute)}


def _takes_place_of_cancellation(caught: ast.expr | None) -> bool:
    return caught is None or bool(_names([caught]) & (_ANYTHING | _OF_A_LOST_CALL))


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether the handler raises in any case, or asks whether the task is being cancelled."""
    return any(isinstance(node, ast.Raise) for node in handler.body) or _asks(handler)


def _asks(handler: ast.ExceptHandler) -> bool:
    simple = (node for node in handler.body if isinstance(node, ast.Expr | ast.Assign | ast.Return))
    return any(_called(inner) in _ASKS for node in simple for inner in ast.walk(node))


def _swallowed(function: ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    for node in _own(function.body):
        if isinstance(node, ast.Try) and _awaits(node.body):
            for handler in node.handlers:
                if _takes_place_of_cancellation(handler.type) and not _passes_on(handler):
                    caught = ast.unparse(handler.type) if handler.type else "everything"
                    yield handler.lineno, f"takes {caught} for an ordinary failure: raise_if_cancelled() first"


def _suppressed(function: ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    for node in _own(function.body):
        if isinstance(node, ast.With) and _awaits(node.body):
            for item in node.items:
                if _called(item.context_expr) == "suppress" and _takes_place_of_cancellation(item.context_expr):
                    yield node.lineno, "suppresses what may stand for a cancellation: use passing_over()"


def _clean_ups(function: ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    for node in _own(function.body):
        if not isinstance(node, ast.Try):
            continue
        on_the_way_out = [*node.finalbody, *(one for handler in node.handlers for one in _of_everything(handler))]
        for one in _own(on_the_way_out):
            if isinstance(one, ast.Await) and _called(one.value) not in _BOUNDED:
                yield one.lineno, f"awaits {ast.unparse(one.value)[:40]} on the way out: it has no deadline of its own"


def _of_everything(handler: ast.ExceptHandler) -> list[ast.stmt]:
    """Return what a handler does while a cancellation may be on its way out."""
    if _asks(handler):
        return []
    everything = handler.type is None or bool(_names([handler.type]) & {"BaseException", "CancelledError"})
    return handler.body if everything else []


def _orphans(function: ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    for node in _own(function.body):
        if not isinstance(node, ast.Call):
            continue
        if _called(node) == "gather" and not any(one.arg == "return_exceptions" for one in node.keywords):
            yield node.lineno, "leaves the others running when one fails: use side_by_side()"
        if _called(node) == "TaskGroup":
            yield node.lineno, "counts as cancelled for good after a failure, up to Python 3.12: use side_by_side()"


def _unbounded(function: ast.AsyncFunctionDef) -> Iterator[tuple[int, str]]:
    timed = {id(inner) for node in _own(function.body) if _sets_a_time(node) for inner in ast.walk(node)}
    for node in _own(function.body):
        if not isinstance(node, ast.Await) or id(node) in timed or not isinstance(node.value, ast.Call):
            continue
        if _called(node.value) == "wait" and not any(one.arg == "timeout" for one in node.value.keywords):
            yield node.lineno, f"waits without an end: {ast.unparse(node.value)[:60]}"


def _sets_a_time(node: ast.AST) -> bool:
    return isinstance(node, ast.AsyncWith) and any(
        _called(item.context_expr) in {"timeout", "timeout_at", "patience"} for item in node.items
    )
