"""The backups: what is in each, and the long work about them, which goes on whoever goes."""

from functools import partial
from typing import Final

from starlette.responses import Response

from agentbus.composition.app import need_backups
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.jobs import JobKind
from agentbus.contracts.recovery import RecoveryStrategy
from agentbus.http.backing_up import backing_up, find_backup, place_in, restoring, verifying
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.api_keys import Role
from agentbus.operations.backup import Wanted, list_backups
from agentbus.operations.jobs import Work
from agentbus.workers.recovery import RecoveryOptions

SAME: Final = Same("GET /v1/backups", "agentbus backup list")

_JOBS: Final = 5
"""Jobs that are shown, the latest."""
_LONGEST: Final = 1000
_STRATEGIES: Final = (RecoveryStrategy.MERGE, RecoveryStrategy.REPLACE, RecoveryStrategy.SKIP)
"""Those that ask nobody while they go on."""


async def listing(visit: Visit) -> Response:
    """List them, the latest first, below the latest jobs."""
    settings = visit.app.settings
    there = settings.backup.backup_url is not None
    found = await list_backups(need_backups(settings, visit.app.store)) if there else []
    jobs = (await visit.jobs.page(limit=_JOBS)).items
    return visit.page("backups.html", title="Backups", same=SAME, there=there, backups=found, jobs=jobs)


async def show(visit: Visit) -> Response:
    """Show what is in one."""
    found = await find_backup(place_in(visit.app), visit.named("backup"))
    return visit.page(
        "backup.html",
        title="Backup",
        same=Same(f"GET /v1/backups/{found.backup_id}", f"agentbus backup show {found.backup_id}"),
        backup=found,
        strategies=_STRATEGIES,
    )


async def create(visit: Visit) -> Response:
    """Start to make one."""
    app = visit.app
    description = visit.form.get("description").strip()
    if len(description) > _LONGEST:
        raise SchemaViolation(f"what it is for takes {_LONGEST} characters at most")
    wanted = Wanted(
        file_format=app.settings.backup.backup_format,
        incremental=visit.form.get("incremental") == "yes",
        description=description,
    )
    return await _started(visit, JobKind.BACKUP, partial(backing_up, app, place_in(app), wanted), "A backup is made.")


async def verify(visit: Visit) -> Response:
    """Start to read all of one."""
    place = place_in(visit.app)
    named = (await find_backup(place, visit.named("backup"))).backup_id
    work = partial(verifying, place, named)
    return await _started(visit, JobKind.VERIFY, work, f"All of {named} is read.", about=named)


async def restore(visit: Visit) -> Response:
    """Start to restore one, or to look what that would do."""
    place, dry_run = place_in(visit.app), visit.form.get("look") == "yes"
    named = (await find_backup(place, visit.named("backup"))).backup_id
    chosen = visit.form.get("strategy")
    if chosen not in {one.value for one in _STRATEGIES}:
        raise SchemaViolation(f"the strategies are {', '.join(_STRATEGIES)}")
    options = RecoveryOptions(strategy=RecoveryStrategy(chosen))
    work = partial(restoring, visit.app, place, named, options, dry_run=dry_run)
    said = f"It is looked what restoring {named} would do." if dry_run else f"{named} is restored."
    return await _started(visit, JobKind.RESTORE, work, said, about=named)


async def cancel(visit: Visit) -> Response:
    """Have a job end."""
    job = await visit.jobs.cancel(visit.named("job"))
    return visit.to("/backups", f"The {job.kind} ends within moments. What it has done stays.")


async def _started(visit: Visit, kind: JobKind, work: Work, said: str, *, about: str = "") -> Response:
    await visit.jobs.start(kind, work, about=about, by=visit.app.by)
    return visit.to("/backups", f"{said} How far it is stands below.")


PAGES: Final = (
    Page("GET", "/backups", listing, place=Place("/backups", "Backups", "Keep")),
    Page("GET", "/backups/{backup}", show),
    action("/backups", create, Role.ADMIN),
    action("/backups/{backup}/verify", verify, Role.ADMIN),
    action("/backups/{backup}/restore", restore, Role.ADMIN),
    action("/jobs/{job}/cancel", cancel, Role.ADMIN),
)
