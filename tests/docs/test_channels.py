"""The table of what each channel can do is what the channels say."""

from agentbus.workers.adapters.factory import OURS, channel_named
from tests.docs.channels import PAGE, table, with_table


def test_the_table_in_the_docs_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert with_table(page) == page, "write it anew: python -m tests.docs.channels"
    assert with_table(page.replace("| text | yes |", "| text |  |")) == page


def test_every_channel_of_ours_is_in_it_and_has_its_section() -> None:
    page = PAGE.read_text("utf-8")
    titles = [channel_named(name).title for name in OURS]
    assert all(f"\n## {title}\n" in page for title in titles)
    assert table().splitlines()[0] == f"|  | {' | '.join(titles)} |"
