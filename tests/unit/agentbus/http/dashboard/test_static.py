"""What is not ours is as its authors published it, with its licence, and nothing is kept that is not written down."""

import hashlib
import json
from typing import Final

from agentbus.http.dashboard.visit import HERE
from tests.harness.dashboard import a_desk

_FOLDER: Final = HERE / "static"
_OURS: Final = {"dashboard.css", "dashboard.js", "icon.svg", "plots.js", "vendored.json"}


def test_what_is_vendored_is_as_it_was_published() -> None:
    packages = json.loads((_FOLDER / "vendored.json").read_text("utf-8"))["packages"]
    known = set(_OURS)
    for package in packages:
        licence = _FOLDER / package["licence_file"]
        assert licence.read_text("utf-8").strip(), package["name"]
        known.add(package["licence_file"])
        for kept in package["files"]:
            body = (_FOLDER / kept["file"]).read_bytes()
            assert hashlib.sha256(body).hexdigest() == kept["sha256"], kept["file"]
            known.add(kept["file"])
    there = {str(one.relative_to(_FOLDER)) for one in _FOLDER.rglob("*") if one.is_file()}
    assert there == known


async def test_files_are_asked_for_once() -> None:
    async with a_desk() as desk:
        for name, kind in {
            "dashboard.css": "text/css",
            "htmx.min.js": "text/javascript",
            "icon.svg": "image/svg",
        }.items():
            first = await desk.get(f"/static/{name}")
            assert first.status_code == 200
            assert first.headers["content-type"].startswith(kind)
            again = await desk.get(f"/static/{name}", **{"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert (await desk.get("/static/vendored.json")).status_code == 404


def test_no_page_asks_elsewhere_for_anything() -> None:
    for page in (HERE / "templates").iterdir():
        text = page.read_text("utf-8")
        assert "http://" not in text, page
        assert "https://" not in text, page
