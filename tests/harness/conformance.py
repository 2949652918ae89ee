"""What is tested on one server at each run, and on all of them with `--conformance` (`make conformance`)."""

from typing import Final

import pytest

MARK: Final = "on_all_servers"

on_all_servers: Final = pytest.mark.on_all_servers
"""Marks what costs much and says of one more server what is said of another: `make test` leaves it out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--conformance", action="store_true", help="also test what is marked as being for all servers")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{MARK}: tested with --conformance alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked, unless it is asked for or named."""
    if config.getoption("--conformance") or any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if item.get_closest_marker(MARK)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker(MARK)]
