"""Every page, in the order of the menu."""

from typing import Final

from agentbus.http.dashboard.screens import (
    archive,
    backup,
    conflicts,
    expiry,
    identity,
    live,
    one_session,
    overview,
    parked,
    replies,
    sessions,
    settings,
    signing_in,
    statistics,
    workers,
)

PAGES: Final = (
    *overview.PAGES,
    *sessions.PAGES,
    *one_session.PAGES,
    *parked.PAGES,
    *replies.PAGES,
    *conflicts.PAGES,
    *identity.PAGES,
    *expiry.PAGES,
    *archive.PAGES,
    *backup.PAGES,
    *workers.PAGES,
    *statistics.PAGES,
    *settings.PAGES,
    *signing_in.PAGES,
    *live.PAGES,
)
