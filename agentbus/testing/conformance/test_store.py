"""The store at the URL that `--store` names, held to its contract."""

from uuid import uuid4

import pytest

from agentbus.testing.conformance.whole import DurableStoreConformance

_NEW = "{new}"


class TestStore(DurableStoreConformance):
    """All of it; the tests of what outlives its process are skipped for a store that says that it does not."""

    @pytest.fixture
    def store_url(self, request: pytest.FixtureRequest) -> str:
        """Give the URL of a store that no test has used."""
        url: str | None = request.config.getoption("--store")
        if url is None:
            pytest.fail("name the store to test by --store URL")
        if _NEW not in url and not url.startswith("memory:"):
            pytest.fail(f"each test needs an empty store: write {_NEW} into the URL where a new name may stand")
        return url.replace(_NEW, uuid4().hex)
