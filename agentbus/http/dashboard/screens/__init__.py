"""Every page, in the order of the menu."""

from typing import Final

from agentbus.http.dashboard.screens import live, one_session, overview, parked, sessions, signing_in

PAGES: Final = (
    *overview.PAGES,
    *sessions.PAGES,
    *one_session.PAGES,
    *parked.PAGES,
    *signing_in.PAGES,
    *live.PAGES,
)
