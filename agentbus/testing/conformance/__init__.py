"""The conformance suite of stores: what ours are held to, for stores of your own. It needs the extra `testing`.

A class of tests inherits it, and gives the URL of an empty store:

```python
from agentbus.testing.conformance import DurableStoreConformance

class TestMine(DurableStoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"mine://{tmp_path}/store"
```

Without a line of code, `{new}` being replaced by a new name for each test:

    pytest -p agentbus.testing.conformance --pyargs agentbus.testing.conformance --store 'mine:///tmp/stores/{new}'

`look_inside` gives the suite the means to damage what a store keeps, and to age a heartbeat; without them the tests
that need them are skipped.
"""

from pathlib import Path

from agentbus.contracts.extras import importing_extras

with importing_extras("testing"):
    import pytest

    for _suite in Path(__file__).parent.glob("*_suite.py"):
        pytest.register_assert_rewrite(f"{__name__}.{_suite.stem}")

    from agentbus.testing.conformance.inside import Inside, look_inside
    from agentbus.testing.conformance.store_many_suite import FEW
    from agentbus.testing.conformance.whole import DurableStoreConformance, StoreConformance

__all__ = ["DurableStoreConformance", "Inside", "StoreConformance", "look_inside"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says which store is tested."""
    group = parser.getgroup("agentbus")
    new = "{new} in it becomes a new name for each test"
    group.addoption("--store", metavar="URL", help=f"the store to hold to its contract; {new}")
    group.addoption("--many", type=int, default=FEW, metavar="N", help="messages and sessions of the tests of many")
    group.addoption(
        "--cancel-each", type=int, default=1, metavar="N", help="each Nth await of a call is cancelled alone"
    )
    group.addoption("--cancel-from", type=int, default=0, metavar="N", help="which of them: another N takes others")
    group.addoption("--page-budget", type=float, metavar="SECONDS", help="what a page of many may take, the median")
