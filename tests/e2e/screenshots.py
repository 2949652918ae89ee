"""Pictures of every page of the dashboard, light and dark, for the documentation: `make screenshots`."""

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.async_api import expect

from agentbus.composition.app import App
from agentbus.contracts.members import WorkerKind, WorkerStatus
from agentbus.operations.workers import hand_back
from tests.e2e.test_dashboard import Desk, a_backup_is_made_and_tried, a_desk, somebody_signs_in
from tests.harness.builders import a_member

COLOURS: Final = 256
SIZE: Final = {"width": 1120, "height": 720}


def pages(desk: Desk) -> dict[str, str]:
    """Return each page that is shown, by the name of its pictures."""
    session = f"/sessions/{desk.filled.session}"
    return {
        "overview": "/",
        "sessions": "/sessions",
        "session": session,
        "session-events": f"{session}?show=events",
        "parked": "/parked",
        "parked-input": f"/parked/{desk.filled.mendable.parked_id}",
        "replies": "/replies",
        "conflicts": "/conflicts",
        "people": "/identities?key=ann",
        "expiry": "/expiry?due=now",
        "archive": "/archive",
        "backups": "/backups",
        "backup": "/backups/latest",
        "workers": "/workers",
        "partition": "/partitions/1",
        "statistics": "/statistics",
        "settings": "/settings",
    }


async def main(folder: Path) -> None:
    """Write them."""
    with tempfile.TemporaryDirectory() as scratch:
        async with a_desk(Path(scratch), harm="I moved: it is 12 Mill Lane now.", name="Ann") as desk:
            await somebody_signs_in(desk)
            await a_backup_is_made_and_tried(desk)
            await desk.page.set_viewport_size(SIZE)  # type: ignore[arg-type] # a dict of these two
            App.alone = property(lambda _: False)  # type: ignore[method-assign,assignment] # in this process
            await desk.go("/")
            await expect(desk.page.get_by_text("counting from now on")).to_have_count(0)
            for name, path in pages(desk).items():
                for theme in ("light", "dark"):
                    await desk.page.emulate_media(color_scheme=theme)
                    await _others_at_work(desk.app)
                    await hand_back(desk.app, 1)
                    await desk.go(path)
                    _write(folder / f"{name}-{theme}.png", await desk.page.screenshot())


async def _others_at_work(app: App) -> None:
    """Have workers of every kind in the list, as over RabbitMQ."""
    prefix = app.settings.bus.prefix
    for number, (owns, stands_by) in enumerate(((range(2), range(2, 4)), (range(2, 4), range(2))), 1):
        member = a_member(f"chat-{number}-4711-ab{number}", owns=list(owns), host=f"chat-{number}")
        member = member.model_copy(
            update={
                "stands_by": tuple(stands_by),
                "started_at": app.clock.now(),
                "status": WorkerStatus.RUNNING,
                "commit_lag": 0.031,
            }
        )
        for kind in WorkerKind:
            shown = member if kind is WorkerKind.SESSION else member.model_copy(update={"owns": (), "stands_by": ()})
            await app.store.members.heartbeat(kind.group(prefix), shown, ttl=600)


def _write(path: Path, picture: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
