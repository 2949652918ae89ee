"""`python -m tests.typing.snapshot [--write]`: the public API as text, compared with what was agreed, or written anew.

Signatures are taken from the source, so that they read the same in every version of Python.
"""

import argparse
import ast
import difflib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MODULES: Final = ("agentbus.client", "agentbus.http", "agentbus.sessions", "agentbus.state")
AGREED: Final = Path(__file__).parent / "api"
_OURS: Final = "agentbus."
_WRITE: Final = "python -m tests.typing.snapshot --write"

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or write; return 1 if what is public is not what was agreed."""
    parser = argparse.ArgumentParser(prog="python -m tests.typing.snapshot", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make what is public now what was agreed")
    if parser.parse_args(arguments).write:
        for name in MODULES:
            _file(name).write_text(public_api(importlib.import_module(name)), "utf-8")
        return 0
    found = "".join(changes(name) for name in MODULES)
    sys.stdout.write(found)
    return 1 if found else 0


def changes(name: str) -> str:
    """Return what has changed in a module since its API was agreed, as a diff that says how to agree; empty if not."""
    agreed = _file(name).read_text("utf-8")
    return difference(name, agreed, public_api(importlib.import_module(name)))


def difference(name: str, agreed: str, now: str) -> str:
    """Return a diff of two texts of an API, with the way to agree to it; empty if they are the same."""
    lines = list(
        difflib.unified_diff(
            agreed.splitlines(), now.splitlines(), f"{name} as agreed", f"{name} now", lineterm="", n=0
        )
    )
    if not lines:
        return ""
    hint = f"The public API of {name} has changed. If that is meant, agree to it: {_WRITE}"
    return "\n".join([*lines, hint, ""])


def public_api(module: ModuleType) -> str:
    """Return every public name of a module with its signature, one to a line, sorted."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if _defined_in(module, name)]
    exported = {name: getattr(module, name) for name in sorted(names)}
    kinds = [value for value in exported.values() if inspect.isclass(value)]
    return "\n".join(line for name, value in exported.items() for line in _described(name, value, kinds)) + "\n"


def _file(name: str) -> Path:
    return AGREED / f"{name}.txt"


def _defined_in(module: ModuleType, name: str) -> bool:
    value = getattr(module, name)
    return (
        not name.startswith("_")
        and name != "TYPE_CHECKING"
        and (getattr(value, "__module__", None) == module.__name__ or name.isupper())
    )


def _described(name: str, value: Any, kinds: Sequence[type]) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class_lines(name, value, kinds)
    elif inspect.isfunction(value):
        function = _parsed(inspect.unwrap(value))
        assert isinstance(function, _Function)
        yield _signature(function)
    else:
        yield f"{name}: {type(value).__name__} = {value!r}"


def _class_lines(name: str, kind: type, kinds: Sequence[type]) -> Iterator[str]:
    """Yield a class and its members, those from bases that are not exported included."""
    bases = [base for base in kind.__mro__[1:-1] if base in kinds or not base.__module__.startswith(_OURS)]
    direct = [base.__name__ for base in bases if not any(issubclass(o, base) for o in bases if o is not base)]
    body = _parsed(kind)
    assert isinstance(body, ast.ClassDef)
    yield _decorated(body, f"class {name}({', '.join(direct)})" if direct else f"class {name}")
    inherited = {base for shown in kinds if shown is not kind and issubclass(kind, shown) for base in shown.__mro__}
    fields: dict[str, str] = {}
    functions: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base not in inherited and base.__module__.startswith(_OURS):
            fields.update(_fields(base))
            functions.update(_functions(base))
    yield from (f"    {line}" for line in fields.values())  # their order is that of positional arguments
    yield from (f"    {functions[function]}" for function in sorted(functions))


def _fields(kind: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in _body(kind):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                if not name.startswith("_") and name != "model_config":
                    found[name] = ast.unparse(node)
            case _:
                pass
    return found


def _functions(kind: type) -> dict[str, str]:
    functions = [node for node in _body(kind) if isinstance(node, _Function)]
    return {one.name: _signature(one) for one in functions if not one.name.startswith("_") or one.name == "__init__"}


def _body(kind: type) -> list[ast.stmt]:
    parsed = _parsed(kind)
    assert isinstance(parsed, ast.ClassDef)
    return parsed.body


def _signature(function: _Function) -> str:
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returns = ast.unparse(function.returns) if function.returns else "?"
    return _decorated(function, f"{kind} {function.name}({ast.unparse(function.args)}) -> {returns}")


def _decorated(node: _Function | ast.ClassDef, line: str) -> str:
    return "".join([*(f"@{ast.unparse(one)} " for one in node.decorator_list), line])


def _parsed(thing: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


if __name__ == "__main__":
    sys.exit(main())
