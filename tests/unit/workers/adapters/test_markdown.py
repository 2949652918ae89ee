"""Markdown in each platform's dialect: what it means is kept, and nothing that somebody wrote means anything else."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbus.workers.adapters.markdown import PLAIN, SLACK, TELEGRAM, WHATSAPP, Dialect, render

TEXT = """# A *title*

Some **bold**, *slanted*, ~~struck~~ and `code <b>` text,
on two lines & with [a link](https://example.org/?a=1&b=2).

- one
- two
  - deeper

3. three
4. four

> quoted

```python
if a < b:
    pass
```

| a | b |
|---|---|
| 1 | 2 |

---
"""


def test_telegram() -> None:
    assert render(TEXT, TELEGRAM) == (
        "<b>A <i>title</i></b>\n\n"
        "Some <b>bold</b>, <i>slanted</i>, <s>struck</s> and <code>code &lt;b&gt;</code> text,\n"
        'on two lines &amp; with <a href="https://example.org/?a=1&amp;b=2">a link</a>.\n\n'
        "• one\n• two\n  • deeper\n\n"
        "3. three\n4. four\n\n"
        "<blockquote>quoted</blockquote>\n\n"
        '<pre><code class="language-python">if a &lt; b:\n    pass</code></pre>\n\n'
        "a | b\n1 | 2\n\n———"
    )


def test_slack() -> None:
    assert render(TEXT, SLACK) == (
        "*A _title_*\n\n"
        "Some *bold*, _slanted_, ~struck~ and `code &lt;b&gt;` text,\n"
        "on two lines &amp; with <https://example.org/?a=1&amp;b=2|a link>.\n\n"
        "• one\n• two\n  • deeper\n\n"
        "3. three\n4. four\n\n"
        "> quoted\n\n"
        "```\nif a &lt; b:\n    pass\n```\n\n"
        "a | b\n1 | 2\n\n———"
    )


def test_whatsapp_and_plain() -> None:
    assert render("**bold** *slanted* ~~struck~~ [a link](https://example.org)", WHATSAPP) == (
        "*bold* _slanted_ ~struck~ a link (https://example.org)"
    )
    assert render("**bold** *slanted* `x` <https://example.org>\n\n```\ncode\n```", PLAIN) == (
        "bold slanted x https://example.org\n\ncode"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo", "one\ntwo"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("<b>not ours</b>", "<b>not ours</b>"),
        ("![a picture](https://example.org/a.png)", "a picture (https://example.org/a.png)"),
        ("[no](javascript:alert(1))", "[no](javascript:alert(1))"),
        ("", ""),
    ],
)
def test_what_is_no_markup_stays_as_it_is(text: str, shown: str) -> None:
    assert render(text, PLAIN) == shown


class Balanced(HTMLParser):
    """Whether tags of Telegram's own close in the order in which they open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's
        assert tag in {"b", "i", "s", "code", "pre", "a", "blockquote"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


_MARKS = st.text(st.sampled_from('ab*_~`[]()<>&#|-\n 1.!\\"'), max_size=80)


@settings(max_examples=100)
@given(_MARKS)
def test_whatever_somebody_writes_telegram_gets_html_that_it_can_read(text: str) -> None:
    parser = Balanced()
    parser.feed(render(text, TELEGRAM))
    parser.close()
    assert not parser.open


@settings(max_examples=100)
@given(_MARKS)
def test_whatever_somebody_writes_slack_gets_no_command_of_theirs(text: str) -> None:
    shown = render(text, SLACK)
    assert not re.search(r"<[!@#]", shown)


@settings(max_examples=50)
@given(st.text(max_size=200), st.sampled_from([PLAIN, SLACK, TELEGRAM, WHATSAPP]))
def test_any_text_can_be_rendered(text: str, dialect: Dialect) -> None:
    render(text, dialect)
