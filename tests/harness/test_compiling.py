"""The first process that finds the tests does so alone."""

from pathlib import Path

from tests.harness.compiling import alone


def test_the_first_has_it_and_nobody_beside_it(tmp_path: Path) -> None:
    with (tmp_path / "found").open("ab") as first, (tmp_path / "found").open("ab") as second:
        assert alone(first, 1.0)
        assert not alone(second, 0.3)


def test_who_comes_when_it_is_done_goes_on_at_once_and_side_by_side(tmp_path: Path) -> None:
    with (tmp_path / "found").open("ab") as first:
        assert alone(first, 1.0)
        first.write(b".")
    with (tmp_path / "found").open("ab") as second:
        assert not alone(second, 1.0)
    with (tmp_path / "found").open("ab") as third:
        assert not alone(third, 1.0)


def test_when_the_first_dies_the_next_takes_its_place(tmp_path: Path) -> None:
    with (tmp_path / "found").open("ab") as first:
        assert alone(first, 1.0)
    with (tmp_path / "found").open("ab") as second:
        assert alone(second, 1.0)
