"""The pytest plugin: it looks after each test, and fails the one that left something."""

import gc
import os
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.leaks.loops import Loops
from tests.harness.leaks.things import Thing, still, things, told

SELDOM: Final = (50_000, 20, 100)
"""How many objects more there have to be until garbage is looked for within a test: what it leaves is looked for at its
end anyway. Python's own 700 cost 7 % of all that a test's process does."""

GRACE: Final = 2.0
"""Seconds for what is ending by itself, such as a driver's thread that was told to. Only a test that left
something waits for it."""

_POLL: Final = 0.01

PYMONGOS_IDLE_SECONDS: Final = 120
"""After how many idle seconds PyMongo has its sockets ask whether their peer is there; Linux's own number is 7,200."""


class Leaks:
    """What there is, what may be there, and which test is to blame for the rest."""

    def __init__(self) -> None:
        self._loops = Loops()
        self._before: set[Thing] = set()
        """What there was when the test before ended, or the first one began."""
        self._of_wider_scopes: set[Thing] = set()
        self._passed = True

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self) -> Generator[None, None, None]:
        self._loops.watch()
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        yield
        self._loops.unwatch()

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Look for no garbage while tests are found: there is little, and it takes longer than all else (8 of 14 s)."""
        gc.disable()
        try:
            return (yield)
        finally:
            gc.set_threshold(*SELDOM)
            gc.enable()

    def pytest_collection_finish(self) -> None:
        _collected()
        self._before = things()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        self._passed = True
        self._loops.taken()
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._passed = self._passed and report.passed
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        before = things()
        try:
            return (yield)
        finally:
            self._of_wider_scopes |= things() - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        yield
        left = [*self._loops.taken(), *_collected(), *self._left()]
        if left and self._passed:
            pytest.fail("the test left behind:\n  " + "\n  ".join(left), pytrace=False)

    def _left(self) -> list[str]:
        deadline, before = time.monotonic() + GRACE, self._before
        while True:
            self._before = things()
            new = self._before - before - self._of_wider_scopes
            if not new or time.monotonic() > deadline:
                return sorted(map(told, new))
            while new and time.monotonic() <= deadline:
                time.sleep(_POLL)
                new = still(new)


def _collected() -> list[str]:
    """Collect what the test lost, and say what complains of it: later it would be taken for another test's.

    What is still there is frozen: looking only at what the next test makes takes 2 ms, at everything 100.
    """
    complaints: list[str] = []
    usual, sys.unraisablehook = sys.unraisablehook, lambda one: complaints.extend(_complaint(one))
    try:
        gc.collect()
        gc.freeze()
    finally:
        sys.unraisablehook = usual
    return complaints


def _complaint(one: "sys.UnraisableHookArgs") -> Iterator[str]:
    if not (isinstance(one.object, socket.socket) and _is_pymongos_attempt(one.object)):
        yield f"what only the collector found: {one.object!r}: {one.exc_value!r}"


def _is_pymongos_attempt(left: socket.socket) -> bool:
    """Whether a socket is that of an attempt to connect that PyMongo's async client gave up.

    A client that is closed while its server is looked for cancels the attempt, and closes its socket only where the
    attempt failed by itself (`pymongo.pool_shared._async_create_connection` of 4.20). The collector does, so that
    nothing stays; it is known by never having come to have a peer, and by the times that PyMongo sets before.
    """
    if left.family not in (socket.AF_INET, socket.AF_INET6) or left.type != socket.SOCK_STREAM:
        return False
    try:
        left.getpeername()
    except OSError:
        listens = left.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return not listens and left.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == PYMONGOS_IDLE_SECONDS
    return False


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """Give this process a temporary folder of its own: in the machine's one, anybody may put things."""
    usual = tempfile.gettempdir()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", usual)  # the folders of `tmp_path` stay where they are looked for
    folder = tempfile.mkdtemp(prefix="agentbus-tests-")
    Path(folder).chmod(0o711)  # a server that must not be root's has its own folder in it
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        os.environ["TMPDIR"] = tempfile.tempdir = usual
        with suppress(OSError):  # not empty: it keeps the evidence of what failed
            Path(folder).rmdir()


def pytest_configure(config: pytest.Config) -> None:
    """Watch from here on."""
    stack = ExitStack()
    config.add_cleanup(stack.close)
    stack.enter_context(_own_temporary_folder())
    config.pluginmanager.register(Leaks(), "leaks")
