"""Every kind of store, and an empty one of each: what goes through all of them asks here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.harness.system.backends import STORES

PLACES: Final[Mapping[str, Callable[[Path], str]]] = {
    "memory": lambda _: "memory://",
    "sqlite": lambda folder: f"sqlite:///{folder}/store.db",
    "files": lambda folder: f"file://{folder}/store",
}
"""The URLs of those that need no server, in a folder."""

KINDS: Final = (*PLACES, *STORES)


@contextmanager
def empty_store(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty store of a kind: in a folder, or on a server of its own."""
    if kind in PLACES:
        yield PLACES[kind](folder)
    else:
        with STORES[kind]() as server, server.fresh_database() as url:
            yield url
