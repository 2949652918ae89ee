"""What the API says of itself."""

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from agentbus.http.calls import Calls
from agentbus.operations.api_keys import Role

calls = Calls("about")


@calls.call("GET", "/openapi.json", Role.READ, answers=dict[str, Any], for_users=True)
async def get_openapi(request: Request) -> Response:
    """Return this document."""
    return JSONResponse(request.app.openapi())
