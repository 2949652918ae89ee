"""The backups that there are, and what is in each."""

from typing import Final

from starlette.responses import Response

from agentbus.composition.app import need_backups
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.backup import list_backups

SAME: Final = Same("GET /v1/backups", "agentbus backup list")


async def listing(visit: Visit) -> Response:
    """List them, the latest first."""
    settings = visit.app.settings
    there = settings.backup.backup_url is not None
    found = await list_backups(need_backups(settings, visit.app.store)) if there else []
    return visit.page("backups.html", title="Backups", same=SAME, there=there, backups=found)


PAGES: Final = (Page("GET", "/backups", listing, place=Place("/backups", "Backups", "Keep")),)
