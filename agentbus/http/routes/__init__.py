"""The calls of the HTTP API, a module a subject; each is thin over what the library and the commands go by."""

from typing import Final

from fastapi import APIRouter

from agentbus.http.routes import (
    about,
    checkpoints,
    editing,
    events,
    expiry,
    messages,
    parked,
    replies,
    sessions,
    sync,
    workers,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    messages.calls,
    sessions.calls,
    editing.calls,
    checkpoints.calls,
    sync.calls,
    events.calls,
    expiry.calls,
    parked.calls,
    replies.calls,
    workers.calls,
    about.calls,
)
