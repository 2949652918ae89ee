"""The unit tests lie as the packages do: those of `workers/bus/pump.py` are in `tests/unit/workers/bus/test_pump.py`.

A module with several files of tests has them side by side: `test_worker.py`, `test_worker_endings.py`.
"""

from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_UNIT: Final = _ROOT / "tests" / "unit"

_BESIDE: Final = {
    "agentbus/cli/test_lists.py": "the lists of several commands are cut, filtered and turned over alike",
    "agentbus/test_public.py": "what `agentbus` itself hands out, and that importing it is quick",
    "contracts/test_conventions.py": "what holds across all contracts",
    "contracts/test_models.py": "small promises of several models",
    "workers/test_later_records.py": "what several rooms do with records of a later release",
}
"""Tests that are about no single module, and what they are about."""


def _is_mirrored(file: Path, unit: Path, root: Path) -> bool:
    """Tell whether it is named after its package, or after a module of it, in the folder of that package."""
    package = root / file.relative_to(unit).parent
    if package.resolve() != package or not (package / "__init__.py").is_file():
        return False
    names = {package.name, *(one.stem for one in package.iterdir() if one.suffix == ".py" or one.is_dir())}
    subject = file.stem.removeprefix("test_")
    return any(subject == name or subject.startswith(f"{name}_") for name in names)


def test_each_unit_test_lies_where_what_it_tests_does() -> None:
    files = {str(file.relative_to(_UNIT)): file for file in _UNIT.rglob("test_*.py")}
    assert files
    beside = {name for name, file in files.items() if not _is_mirrored(file, _UNIT, _ROOT)}
    assert sorted(beside - _BESIDE.keys()) == [], "which module is it about? It is named after that, and lies like it."
    assert sorted(_BESIDE.keys() - beside) == [], "no longer there, or about one module: no exception is needed."


def test_what_lies_elsewhere_is_found(tmp_path: Path) -> None:
    unit = tmp_path / "tests" / "unit"
    rooms = tmp_path / "workers" / "rooms"
    rooms.mkdir(parents=True)
    for module in ("__init__", "lanes", "worker"):
        (rooms / f"{module}.py").touch()
    (tmp_path / "agentbus").mkdir()
    (tmp_path / "agentbus" / "rooms").symlink_to(rooms)
    for name in ("lanes", "worker_endings", "rooms"):
        assert _is_mirrored(unit / "workers" / "rooms" / f"test_{name}.py", unit, tmp_path), name
    elsewhere = ("workers/rooms/test_lane.py", "workers/test_lanes.py", "test_lanes.py", "agentbus/rooms/test_lanes.py")
    for path in elsewhere:
        assert not _is_mirrored(unit / path, unit, tmp_path), path
