"""The report on sizes measures what is there, and names it."""

import json
from pathlib import Path

import pytest

from tests.architecture import sizes
from tests.architecture.sizes import PACKAGES, Size, main, our_files, report_on


def test_files_and_functions_are_measured_longest_first(tmp_path: Path) -> None:
    long, short = tmp_path / "long.py", tmp_path / "short.py"
    long.write_text("class A:\n    async def f(self):\n        x = 1\n        return x\n\n\n" + "Y = 1\n" * 20)
    short.write_text("def g():\n    def inner():\n        pass\n")
    report = report_on([short, long], tmp_path)
    assert report.files == [Size(26, "long.py"), Size(3, "short.py")]
    assert report.functions == [Size(3, "short.py:g"), Size(3, "long.py:A.f"), Size(2, "short.py:g.inner")]
    assert report.crumbs == [Size(3, "short.py")]
    assert report.medians == (14.5, 3)


def test_all_four_packages_are_looked_at() -> None:
    assert {file.relative_to(Path.cwd()).parts[0] for file in our_files()} == {*PACKAGES}


def test_it_is_printed_and_given_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_on(our_files())
    monkeypatch.setattr(sizes, "report_on", lambda _: report)
    main(["--most", "3"])
    told = capsys.readouterr().out
    assert told.count(".py") >= 9
    assert f"{len(our_files())} files" in told
    main(["--json"])
    assert len(json.loads(capsys.readouterr().out)["files"]) == len(our_files())
