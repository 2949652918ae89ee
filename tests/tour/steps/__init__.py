"""The steps of the tour, by subject. Importing this package registers them all."""

from tests.tour.steps import (
    caching,
    configuration,
    contexts,
    creation,
    errors,
    expiring,
    keeping,
    lifecycle,
    listing,
    messages,
    persisting,
    starting,
    stores,
    syncing,
    tracking,
    types,
)

__all__ = [
    "caching",
    "configuration",
    "contexts",
    "creation",
    "errors",
    "expiring",
    "keeping",
    "lifecycle",
    "listing",
    "messages",
    "persisting",
    "starting",
    "stores",
    "syncing",
    "tracking",
    "types",
]
