"""The table of what each store can do is what the stores say; and what they say is true where that can be seen."""

from agentbus.storage import factory
from agentbus.storage.factory import open_store
from tests.docs.capabilities import PAGE, STORES, table, with_table


def test_the_table_in_the_docs_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert with_table(page) == page, "write it anew: python -m tests.docs.capabilities"
    assert with_table(page.replace("16 MiB |", "17 MiB |")) == page


def test_every_kind_of_store_is_in_the_table() -> None:
    schemes = {scheme for scheme in factory._factories if "+" not in scheme and scheme != "sqlite"}
    kinds = {type(open_store(f"{scheme}://host{'' if scheme.startswith('redis') else '/x'}")) for scheme in schemes}
    assert kinds == {type(open_store(url)) for url in STORES.values()}
    assert table().count("\n") == len(STORES) + 2
