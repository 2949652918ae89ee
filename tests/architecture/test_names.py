"""In each of the four packages, modules have one name or names of their own, never two that differ by an ending.

Several may have the same one: `heads` in each store, `archive` in the command line and in the operations behind it.
"""

from pathlib import Path

import pytest

from tests.architecture.names import modules_in, near_homonyms

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("package", "least"), [("contracts", 40), ("storage", 60), ("workers", 120), ("agentbus", 80)])
def test_no_two_names_differ_by_an_ending(package: str, least: int) -> None:
    modules = [module.relative_to(_ROOT) for module in modules_in(_ROOT / package)]
    assert len(modules) >= least
    assert near_homonyms(modules) == []


@pytest.mark.parametrize(
    "names",
    [
        ("ending", "endings"),
        ("erase", "erasing", "erasure"),
        ("store", "stores", "storage", "storing"),
        ("archive", "archives", "archiving"),
        ("decide", "decider"),
        ("run", "running", "runner"),
        ("identity", "identities"),
        ("watch_loop", "watch_loops"),
        ("supervise", "supervision", "supervisor"),
    ],
)
def test_words_of_one_stem_are_found(names: tuple[str, ...]) -> None:
    assert near_homonyms(Path("a", name) for name in names) == [sorted(f"a/{name}" for name in names)]


def test_other_words_and_one_name_in_several_places_are_not_found() -> None:
    others = ("heads", "log", "log_lines", "lanes", "live", "plan", "port", "parked", "decide", "rounds")
    assert near_homonyms([*(Path("a", name) for name in others), Path("b/heads"), Path("c/heads")]) == []


def test_a_name_in_another_folder_counts(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "inner"):
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    (tmp_path / "consumer.py").touch()
    (tmp_path / "inner" / "consumers.py").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "inner")
    found = [module.relative_to(tmp_path) for module in modules_in(tmp_path)]
    assert sorted(map(str, found)) == ["consumer", "inner", "inner/consumers"]
    assert near_homonyms(found) == [["consumer", "inner/consumers"]]
