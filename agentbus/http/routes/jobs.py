"""Jobs: long work that a call has started, and how far it is."""

from typing import Annotated

from fastapi import Path
from fastapi import Query as InQuery
from starlette.responses import Response

from agentbus.contracts.base import Id
from agentbus.http.calls import Calls, Paged, With, answered
from agentbus.http.shown import JobShown, Listed
from agentbus.operations.api_keys import Role

calls = Calls("jobs")

JobPath = Annotated[Id, Path(description="The job's id.")]


@calls.call("GET", "/jobs", Role.READ, answers=Listed[JobShown])
async def list_jobs(query: Annotated[Paged, InQuery()], parts: With) -> Response:
    """List jobs of the last seven days, the latest first."""
    page = await parts.jobs.page(limit=query.limit, cursor=query.after)
    return answered(Listed[JobShown](items=tuple(map(JobShown.of, page.items)), cursor=page.cursor))


@calls.call("GET", "/jobs/{job_id}", Role.READ, answers=JobShown)
async def get_job(job_id: JobPath, parts: With) -> Response:
    """Return a job: how far it is, and once it is over what it came to."""
    return answered(JobShown.of(await parts.jobs.get(job_id)))


@calls.call("POST", "/jobs/{job_id}/cancel", Role.ADMIN, answers=JobShown, status=202)
async def cancel_job(job_id: JobPath, parts: With) -> Response:
    """Have a job cancelled, in whichever process it runs: soon. What it has done stays. Again is no change."""
    return answered(JobShown.of(await parts.jobs.cancel(job_id)), 202)
