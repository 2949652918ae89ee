"""A file of the archive while it is being written."""

import gzip
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from agentbus.storage.folder import TEMPORARY, Folder

_LEVEL: Final = 6
"""zlib's own default: a level more costs time and saves about 1 %."""


class Writing:
    """A gzip file that is being written under a temporary name. Its methods block."""

    def __init__(self, folder: Folder, parent: str, encrypting: Callable[[Any], Any] | None = None) -> None:
        self._folder = folder
        self._parent = parent
        self._path = f"{parent}/{TEMPORARY}{uuid4().hex}"
        folder.make(parent)
        self._raw = folder.open(self._path, "wb")
        self._encrypted = encrypting(self._raw) if encrypting else None
        # No name and no time: the same lines give the same bytes.
        self._zip = gzip.GzipFile(
            filename="", mode="wb", compresslevel=_LEVEL, fileobj=self._encrypted or self._raw, mtime=0
        )

    def write(self, data: bytes) -> None:
        """Add to the file."""
        self._zip.write(data)

    def finish(self, name: str) -> None:
        """End the file and give it its name."""
        self._zip.close()
        if self._encrypted:
            self._encrypted.close()
        self._folder.settle(self._raw)
        self._raw.close()
        self._folder.move(self._path, f"{self._parent}/{name}")

    def abandon(self) -> None:
        """Take away what was written."""
        with suppress(Exception):  # What failed is told already; a left-over goes with the session's folder.
            self._zip.close()
            self._raw.close()
        with suppress(Exception):
            self._folder.discard(self._path)
