"""The calls of the HTTP API, a module a subject; each is thin over what the library and the commands go by."""

from typing import Final

from fastapi import APIRouter

from agentbus.http.routes import (
    about,
    archive,
    backup,
    checkpoints,
    editing,
    events,
    expiry,
    history,
    identity,
    jobs,
    locks,
    messages,
    parked,
    replies,
    sessions,
    sync,
    templates,
    tracking,
    usage,
    workers,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    messages.calls,
    sessions.calls,
    editing.calls,
    history.calls,
    locks.calls,
    checkpoints.calls,
    templates.calls,
    identity.calls,
    sync.calls,
    events.calls,
    expiry.calls,
    parked.calls,
    replies.calls,
    archive.calls,
    backup.calls,
    jobs.calls,
    usage.calls,
    tracking.calls,
    workers.calls,
    about.calls,
)
