"""Servers for the tests of one module."""

from collections.abc import Iterator

import pytest

from tests.harness.system.backends import Services


@pytest.fixture(scope="module")
def private_services() -> Iterator[Services]:
    """Give a broker and a store that the module's tests may break."""
    with Services() as started:
        with started.fresh():
            pass  # started now, they are the module's; later they would be what the first test left behind
        yield started
