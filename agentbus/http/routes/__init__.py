"""The calls of the HTTP API, a module a subject; each is thin over what the library and the commands go by."""

from typing import Final

from fastapi import APIRouter

from agentbus.http.routes import (
    about,
    archive,
    checkpoints,
    editing,
    events,
    expiry,
    identity,
    messages,
    parked,
    replies,
    sessions,
    sync,
    usage,
    workers,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    messages.calls,
    sessions.calls,
    editing.calls,
    checkpoints.calls,
    identity.calls,
    sync.calls,
    events.calls,
    expiry.calls,
    parked.calls,
    replies.calls,
    archive.calls,
    usage.calls,
    workers.calls,
    about.calls,
)
