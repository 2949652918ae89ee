"""Usage as pictures: there is a bar for each count, as high as it says, and what can't be drawn is said."""

from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from agentbus.contracts.errors import ConfigurationError
from agentbus.plots import png_of, svg_of, write_picture
from agentbus.sessions import SessionSystem
from agentbus.sessions.config import make_config

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = [("By <day>", [("Mon", 4), ("Tue", 1), ("Wed", 0)]), ("Nothing", [("now", 0)]), ("None", [])]
FILL = (0x44, 0x77, 0xAA)


def test_an_svg_has_a_bar_for_each_count_and_a_title_for_each_chart() -> None:
    root = ElementTree.fromstring(svg_of(CHARTS))  # noqa: S314 - written by ourselves
    bars = {bar.findtext(f"{SVG}title"): float(bar.attrib["height"]) for bar in root.iter(f"{SVG}rect")}
    assert bars == {"Mon: 4": 220, "Tue: 1": 55, "Wed: 0": 0, "now: 0": 0}
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert words == ["By <day>", "Mon", "Tue", "Wed", "Nothing", "now", "None"]
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for bar in root.iter(f"{SVG}rect"):
        place = {name: float(bar.attrib[name]) for name in ("x", "y", "width", "height")}
        assert place["x"] + place["width"] <= width
        assert place["y"] + place["height"] <= height


def test_a_png_shows_the_same() -> None:
    with Image.open(BytesIO(png_of(CHARTS))) as image:
        assert (image.format, image.size) == ("PNG", (1800, 2 * 3 * 280))
        pixels = image.convert("RGB")
        (box,) = [pixels.crop((0, 0, 1800, 560))]
    filled = [[column for column in range(box.width) if box.getpixel((column, row)) == FILL] for row in range(560)]
    assert len(filled[2 * 34 + 10]) == pytest.approx(480, abs=4), "the top of the highest bar alone"
    assert len(filled[2 * (34 + 219)]) == pytest.approx(2 * 480, abs=8), "the feet of both"
    grey = box.convert("L")
    ink = [row for row in range(560) if any(grey.crop((0, row, 200, row + 1)).histogram()[:70])]
    assert any(row < 2 * 34 for row in ink), "a title"
    assert any(row > 2 * (34 + 220) for row in ink), "and what the bars are"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("usage.gif", r"one ends with .png or .svg"),
        ("usage", "no picture"),
        ("no/such.svg", "can't be written: No such"),
    ],
)
def test_what_can_not_be_written_is_said(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        write_picture(CHARTS, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_given", [str, Path])
async def test_the_library_draws_what_it_says(tmp_path: Path, as_given: type[str | Path]) -> None:
    async with SessionSystem(make_config(enable_tracking=True, enable_cleanup=False, partitions=1)) as system:
        for name in ("usage.svg", "usage.png"):
            assert await system.plot_usage_patterns(as_given(tmp_path / name), zone="Asia/Tokyo") == tmp_path / name
    titles = [text.text for text in ElementTree.parse(tmp_path / "usage.svg").iter(f"{SVG}text")]  # noqa: S314 - as above
    assert "People's messages by hour" in titles
    with Image.open(tmp_path / "usage.png") as image:
        image.verify()
