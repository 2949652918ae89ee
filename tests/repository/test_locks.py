"""A lock file installs in a year as it does today: it holds all that is required, and nothing is resolved."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from agentbus.contracts import extras
from tests.harness.processes import ROOT
from tests.repository.locks import ENVIRONMENTS, Environment, lacking, locked

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: Final[dict[str, list[str]]] = {**PROJECT["project"]["optional-dependencies"]}
EVERYTHING: Final = EXTRAS.pop("all")
TESTING: Final = "testing"
"""The extra that nothing at run time needs: it is no part of `all`, nor of the runtime's lock."""
USED: Final = EXTRAS.keys() - {TESTING}
RUNTIME: Final[list[str]] = [
    *PROJECT["project"]["dependencies"],
    *chain.from_iterable(EXTRAS[extra] for extra in sorted(USED)),
]
DEVELOPMENT: Final[list[str]] = [*RUNTIME, *EXTRAS[TESTING], *PROJECT["dependency-groups"]["dev"]]
FOLDER: Final = ROOT / "requirements"
LOCKS: Final = {"runtime": RUNTIME, "dev": DEVELOPMENT}
HERE: Final = {key: str(value) for key, value in default_environment().items()}

INSTALLS: Final = re.compile(r"\bpip\b[^\n&|;]*\b(?:install|download)\b[^\n&|;]*")
"""A command that has pip fetch something."""


def known(name: str) -> list[str]:
    """Return what an installed package requires."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        raise LookupError(name) from None


def text_of(lock: str) -> str:
    return (FOLDER / f"{lock}.txt").read_text("utf-8")


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(
    "environment",
    ENVIRONMENTS,
    ids=lambda one: f"{one['python_version']}-{one['sys_platform']}-{one['platform_machine']}",
)
def test_a_lock_holds_every_package_and_extra_that_somebody_requires(lock: str, environment: Environment) -> None:
    assert lacking(locked(text_of(lock), environment), LOCKS[lock], known, environment) == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_looked_at_is_what_is_locked(lock: str) -> None:
    """Else the check above would read the metadata of other versions, or none."""
    pins = locked(text_of(lock), HERE)
    assert len(pins) > len(LOCKS[lock])
    assert {name: Version(version(name)) for name in pins} == {name: one.version for name, one in pins.items()}


def test_all_is_every_extra() -> None:
    (only,) = map(Requirement, EVERYTHING)
    assert (only.name, only.extras) == ("agentbus", USED)


def test_an_extra_brings_the_modules_that_are_said_to_need_it() -> None:
    """What is missing is looked up there: a module of no extra would be a traceback, a package of no module unsaid."""
    assert extras.EXTRAS.keys() == EXTRAS.keys()
    brought_by = packages_distributions()
    for extra, modules in extras.EXTRAS.items():
        packages = {Requirement(one).name for one in EXTRAS[extra]}
        brought = {canonicalize_name(one) for module in modules for one in brought_by[module]}
        shared = any(is_shared(module) for module in modules)  # what they need themselves brings parts of it too
        assert packages <= brought if shared else packages == brought, extra


def is_shared(module: str) -> bool:
    """Whether a package has no file of its own, but parts that several distributions bring."""
    found = find_spec(module)
    assert found is not None
    return found.origin is None


def test_development_runs_what_users_run() -> None:
    for environment in ENVIRONMENTS:
        assert locked(text_of("runtime"), environment).items() <= locked(text_of("dev"), environment).items()


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_lock_is_names_and_hashes_alone(path: Path) -> None:
    """No registry's address, no option: it comes from wherever the reader's pip is told to look."""
    pin = r"[a-z0-9][a-z0-9.-]*(?:\[[a-z0-9,-]+\])?==\S+(?: ; [^\\\n]+)? \\\n"
    hashes = r"(?:    --hash=sha256:[0-9a-f]{64} \\\n)*    --hash=sha256:[0-9a-f]{64}\n"
    assert re.fullmatch(rf"(?:{pin}{hashes})+", path.read_text("utf-8"))


def fetching(text: str) -> list[str]:
    """Return the commands that have pip fetch what a file lists."""
    commands = INSTALLS.findall(re.sub(r"\s*\\\n\s*", " ", text))
    return [command for command in commands if re.search(r" -r |requirements", command)]


@pytest.mark.parametrize(("name", "times"), [("Makefile", 1), ("Dockerfile", 2)])
def test_a_lock_is_installed_without_resolving(name: str, times: int) -> None:
    text = (ROOT / name).read_text("utf-8")
    commands = fetching(text)
    assert len(commands) == times
    for command in commands:
        assert {"--no-deps", "--require-hashes"} <= set(command.split()), command
    assert re.search(r"pip (?:\S+ )*check\b", text), "as nothing is resolved, pip is asked whether all fits"


def test_an_install_that_resolves_is_found() -> None:
    assert fetching("RUN pip --python /x install \\\n    -r build.txt && pip wheel .\n") == [
        "pip --python /x install -r build.txt "
    ]


LOCK: Final = """\
coverage[toml]==7.10.0 \\
    --hash=sha256:00
pytest-cov==7.0.0 \\
    --hash=sha256:00
tomli==2.0.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
"""
METADATA: Final = {
    "pytest-cov": ["coverage[toml]>=7.10", "virtualenv; extra == 'testing'"],
    "coverage": ["tomli; python_full_version < '3.12' and extra == 'toml'"],
    "tomli": [],
}


def found(text: str, environment: Environment = ENVIRONMENTS[0]) -> set[str]:
    return lacking(locked(text, environment), ["pytest_cov>=6"], METADATA.__getitem__, environment)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("coverage[toml]", "coverage", "pytest-cov: coverage[toml]>=7.10"),
        ("7.10.0", "7.9.0", "pytest-cov: coverage[toml]>=7.10"),
        ("pytest-cov", "pytest-covered", "the project: pytest_cov>=6"),
        (
            "python_full_version < '3.12'",
            "python_full_version < '3.11'",
            'coverage: tomli; python_full_version < "3.12" and extra == "toml"',
        ),
    ],
)
def test_what_a_lock_lacks_is_found(old: str, new: str, complaint: str) -> None:
    assert found(LOCK) == set()
    assert complaint in found(LOCK.replace(old, new))


def test_what_another_python_needs_is_not_missed() -> None:
    assert "tomli" not in locked(LOCK, ENVIRONMENTS[-1])
    assert found(LOCK, ENVIRONMENTS[-1]) == set()


def test_what_is_not_pinned_is_found() -> None:
    with pytest.raises(AssertionError, match="not pinned"):
        locked("coverage>=7\n", ENVIRONMENTS[0])


def test_every_extra_stands_in_the_documentation() -> None:
    said = (ROOT / "docs" / "operate.md").read_text("utf-8")
    assert set(re.findall(r"^\| `agentbus\[(\w+)\]` \|", said, re.MULTILINE)) == {*EXTRAS, "all"}
