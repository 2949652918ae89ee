"""The whole API, tried out by its own document: what the document promises is kept, whatever is sent.

`API_EXAMPLES=n` tries n cases of each call, and each kind, in place of one.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from agentbus.composition.probes import Connections, serving
from agentbus.http.routes import archive
from agentbus.operations.api_keys import Role
from tests.harness.api import api_world
from tests.harness.patience import PATIENCE

BEYOND: Final = {
    "GET /v1/statistics/usage": "a time zone that there is",
    "PATCH /v1/sessions/{session_id}": "free JSON: 64-bit integers, 32 levels",
    "POST /v1/sessions": "free JSON; a chat needs a user",
    "POST /v1/sessions/{session_id}/checkpoints": "free JSON",
    "POST /v1/sessions/{session_id}/conflicts/resolve": "a strategy, or one of the two values",
    "POST /v1/sessions/{session_id}/tracked-events": "free JSON",
    "PUT /v1/expiry/rules/{rule_id}": "a strategy needs its own conditions",
    "PUT /v1/templates/{name}": "free JSON",
}
"""Calls whose bodies have to be more than JSON Schema says: that what it allows is taken can't be asked of them."""

Operation: TypeAlias = schemathesis.APIOperation[Any, Any, Any, Any]

EXAMPLES: Final = int(os.environ.get("API_EXAMPLES", "1"))
"""Of each call, of what should be taken and of what should not."""


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """Serve an API; give its address, a key for everything and its document."""
    # On busy cores an answer takes long: that is no fault of a call's.
    lasting = Connections(seconds=10 * PATIENCE)
    async with (
        api_world(api_rate=1e6, backup_url=f"file://{folder}") as world,
        serving(world.api.app, 0, connections=lasting) as port,
    ):
        world.api.parts.engine.call_timeout = PATIENCE
        yield f"http://127.0.0.1:{port}", await world.key(*Role), world.api.app.openapi()
        await world.api.parts.jobs.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(served(tmp_path)) as it:
        yield it


def try_out(operation: Operation, mode: GenerationMode, at: str, key: str) -> int:
    """Send what a call should take, or should not, and hold the answers to the document; return how many were sent."""
    excluded: list[Any] = [positive_data_acceptance] if operation.label in BEYOND else []
    count = 0

    @seed(20261127)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case[Any]) -> None:
        nonlocal count
        count += 1
        if mode is GenerationMode.POSITIVE:
            case.query.pop("after", None)  # Nobody but a list gives out what may stand here.
            if key_given := case.headers.get("Idempotency-Key"):
                case.headers["Idempotency-Key"] = f"{count}-{key_given}"[:255]  # a key is for one thing
        case.call_and_validate(
            at, headers={"Authorization": f"Bearer {key}"}, excluded_checks=excluded, timeout=PATIENCE
        )

    send()
    return count


def test_it_keeps_what_its_document_says(api: tuple[str, str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PATIENCE_SECONDS", PATIENCE)
    at, key, document = api
    found: list[Any] = list(schemathesis.openapi.from_dict(document).get_all_operations())
    operations: list[Operation] = [one.ok() for one in found]
    assert {one.label for one in operations} >= BEYOND.keys()
    assert len(operations) >= len(document["paths"])
    streams = {one.label for one in operations if "text/event-stream" in str(one.definition.raw["responses"])}
    assert streams == {"GET /v1/events", "GET /v1/sessions/{session_id}/events"}, "they have no end: test_events.py"
    for one in operations:
        if one.label in streams:
            continue
        assert try_out(one, GenerationMode.POSITIVE, at, key)
        assert try_out(one, GenerationMode.NEGATIVE, at, key) or not takes(one)


def takes(operation: Operation) -> bool:
    """Whether a call takes anything that could be wrong."""
    return bool(list(operation.iter_parameters()) or operation.body)
