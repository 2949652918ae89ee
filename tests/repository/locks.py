"""What a lock file lacks, so that installing it would need a resolver: a package, an extra, a version that fits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

Environment: TypeAlias = dict[str, str]
Requires: TypeAlias = Callable[[str], Iterable[str]]
"""What a package of this name requires, as its metadata says; LookupError if that isn't known."""

ENVIRONMENTS: Final[tuple[Environment, ...]] = tuple(
    {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "implementation_version": f"{version}.0",
        "sys_platform": system,
        "platform_system": name,
        "os_name": kind,
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for version in ("3.11", "3.12", "3.13")
    for system, name, kind, machine in (
        ("linux", "Linux", "posix", "x86_64"),
        ("linux", "Linux", "posix", "aarch64"),
        ("darwin", "Darwin", "posix", "arm64"),
        ("win32", "Windows", "nt", "AMD64"),
    )
)
"""Where a lock is to be installed."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock, in one environment."""

    version: Version
    extras: frozenset[str] = field(default_factory=frozenset)


def locked(text: str, environment: Environment) -> dict[str, Locked]:
    """Return what a lock file pins in an environment, by name."""
    pins = [line.removesuffix("\\") for line in text.splitlines() if line[:1].isalnum()]
    found = [Requirement(pin.strip()) for pin in pins]
    return {
        canonicalize_name(one.name): Locked(_pinned(one.specifier), frozenset(map(canonicalize_name, one.extras)))
        for one in found
        if one.marker is None or one.marker.evaluate(environment)
    }


def lacking(
    lock: Mapping[str, Locked], wanted: Iterable[str], requires: Requires, environment: Environment
) -> set[str]:
    """Return what somebody requires and the lock does not hold, each with who; nothing if it is complete.

    `wanted` is what the project requires. What a package requires that isn't installed here, for a platform that this
    is not, isn't known and is not looked at.
    """
    found = {f"the project: {one}" for one in _unmet(lock, wanted, {""}, environment)}
    for name, one in lock.items():
        try:
            needs = requires(name)
        except LookupError:
            continue
        found |= {f"{name}: {need}" for need in _unmet(lock, needs, {"", *one.extras}, environment)}
    return found


def _unmet(
    lock: Mapping[str, Locked], needs: Iterable[str], extras: set[str], environment: Environment
) -> Iterable[Requirement]:
    for need in map(Requirement, needs):
        if need.marker and not any(need.marker.evaluate({**environment, "extra": extra}) for extra in extras):
            continue
        held = lock.get(canonicalize_name(need.name))
        if held is None or not _fits(held, need):
            yield need


def _fits(held: Locked, need: Requirement) -> bool:
    extras = {canonicalize_name(extra) for extra in need.extras}
    return extras <= held.extras and need.specifier.contains(held.version, prereleases=True)


def _pinned(specifier: SpecifierSet) -> Version:
    """Return the one version that a requirement allows."""
    (only,) = specifier
    assert only.operator == "==", f"not pinned: {specifier}"
    return Version(only.version)
