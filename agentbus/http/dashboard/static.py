"""The files that pages are made with: ours, and those of others that are kept beside them."""

import hashlib
from functools import cache
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agentbus.http.dashboard.visit import HERE

_FOLDER: Final = HERE / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


async def file(request: Request) -> Response:
    """Answer with a file; a browser that has it is told that it has."""
    kept = _files().get(request.path_params["name"])
    if kept is None:
        return Response(status_code=404)
    body, media_type, tag = kept
    headers = {"Cache-Control": "no-cache", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    found = {}
    for one in _FOLDER.iterdir():
        if one.suffix in _TYPES:
            body = one.read_bytes()
            found[one.name] = (body, _TYPES[one.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found
