"""`python -m tests.harness.openapi`: the OpenAPI document of the HTTP API as a file, unless that breaks others."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from agentbus.contracts.schema.compatibility import Direction, incompatibilities
from agentbus.http.app import make_app
from agentbus.http.calls import FOR_USERS, ROLE
from tests.harness.processes import ROOT

FILE: Final = ROOT / "agentbus" / "http" / "openapi.json"
_MADE_OF: Final = "#/components/schemas/"


def now() -> dict[str, Any]:
    """Return the document of today's calls."""
    return make_app().openapi()


def rendered(document: dict[str, Any]) -> str:
    """Return a document as its file."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what would break somebody who relies on `old` once `new` holds: a call and what happened, each."""
    return [f"{call}: {what}" for call, before, after in _calls(old, new) for what in _broken(before, after)]


def _calls(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the calls of `old`, each with what there is of it in both, made of schemas that stand by themselves."""
    before, after = _standing(old), _standing(new)
    for path, calls in before["paths"].items():
        for method, call in calls.items():
            then = after["paths"].get(path, {}).get(method)
            yield f"{method.upper()} {path}", (before, call), (after, then)


def _broken(before: tuple[Any, Any], after: tuple[Any, Any]) -> Iterator[str]:
    (old_root, old), (new_root, new) = before, after
    if new is None:
        yield "is no longer there"
        return
    if old[ROLE] != new[ROLE]:
        yield f"needs the role {new[ROLE]}, was {old[ROLE]}"
    if old[FOR_USERS] and not new[FOR_USERS]:
        yield "is no longer made for users"
    given, taken = _parameters(old), _parameters(new)
    for name in given:
        if name not in taken:
            yield f"{name}: was removed"
        else:
            yield from _differing(_inside(old_root, given[name]), _inside(new_root, taken[name]), "read", name)
    for name, parameter in taken.items():
        if parameter.get("required") and not given.get(name, {}).get("required"):
            yield f"{name}: is now required"
    yield from _bodies(old_root, old, new_root, new)


def _bodies(old_root: Any, old: Any, new_root: Any, new: Any) -> Iterator[str]:
    had, has = old.get("requestBody"), new.get("requestBody")
    if has and has.get("required") and not (had and had.get("required")):
        yield "body: is now required"
    if had and not has:
        yield "body: was removed"
    if had and has:
        yield from _differing(_inside(old_root, _json(had)), _inside(new_root, _json(has)), "read", "body")
    for status, answer in old["responses"].items():
        if status not in new["responses"]:
            yield f"{status}: was removed"
        elif "content" in answer:
            written = _inside(old_root, _json(answer)), _inside(new_root, _json(new["responses"][status]))
            yield from _differing(*written, "written", status)


def _differing(before: dict[str, Any], after: dict[str, Any], direction: Direction, where: str) -> Iterator[str]:
    if before != after:
        yield from (f"{where}: {what}" for what in incompatibilities(before, after, direction=direction))


def _inside(root: Any, place: Any) -> dict[str, Any]:
    """Return the schema of a place, with what it refers to beside it."""
    schema, made_of = place.get("schema", {}), dict[str, Any]()
    wanted = _named(schema)
    while wanted:
        made_of |= {name: root["$defs"][name] for name in wanted}
        wanted = {named for name in wanted for named in _named(root["$defs"][name])} - made_of.keys()
    return {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": made_of}


def _named(schema: Any) -> set[str]:
    return set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))


def _parameters(call: Any) -> dict[str, Any]:
    return {f"{one['in']} {one['name']}": one for one in call.get("parameters", ())}


def _json(body: Any) -> Any:
    """Return what stands for the one way in which a body is written."""
    return next(iter(body.get("content", {"": {}}).values()))


def _standing(document: dict[str, Any]) -> Any:
    standing = json.loads(json.dumps(document).replace(_MADE_OF, "#/$defs/"))
    standing["$defs"] = standing["components"]["schemas"]
    return standing


def main() -> int:
    """Write the file; return 1, having written nothing, if that would break others."""
    document = now()
    if FILE.is_file() and (broken := breaks(json.loads(FILE.read_text("utf-8")), document)):
        sys.stdout.write("\n".join(["these changes break others within v1; make them compatible:", *broken, ""]))
        return 1
    FILE.write_text(rendered(document), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
