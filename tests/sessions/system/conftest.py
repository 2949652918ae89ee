"""Here systems are looked at as they start, so that what they start in is new."""

import pytest


@pytest.fixture
def used_mongo_url(mongo_url: str) -> str:
    """Give the URL of a database that nobody has used: two systems that start at once make its indexes."""
    return mongo_url
