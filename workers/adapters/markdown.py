"""Markdown, as bots write it, in the dialect of a platform. What a dialect has no sign for is written without one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape as html_escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

_RULE: Final = "———"
_INDENT: Final = "  "

Pair = tuple[str, str]
"""What stands before and after."""


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a platform writes what Markdown says."""

    escape: Callable[[str], str] = _as_it_is
    """Makes what somebody wrote mean nothing but itself."""
    strong: Pair = ("", "")
    em: Pair = ("", "")
    strike: Pair = ("", "")
    code: Pair = ("", "")
    pre: Callable[[str, str], str] = lambda code, _language: code
    """Takes code, escaped, and the name of its language, which may be empty."""
    link: Callable[[str, str], str] = lambda text, url: text if text == url else f"{text} ({url})"
    """Takes what is shown, escaped, and the address."""
    quote: Callable[[str], str] = lambda text: "\n".join(f"> {line}" for line in text.split("\n"))


def _fenced(code: str, _language: str) -> str:
    return f"```\n{code}\n```"


def _html_pre(code: str, language: str) -> str:
    name = html_escape(language)
    return f'<pre><code class="language-{name}">{code}</code></pre>' if name else f"<pre>{code}</pre>"


def _slack_escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


PLAIN: Final = Dialect()
"""Text without any signs."""

TELEGRAM: Final = Dialect(
    escape=lambda text: html_escape(text, quote=False),
    strong=("<b>", "</b>"),
    em=("<i>", "</i>"),
    strike=("<s>", "</s>"),
    code=("<code>", "</code>"),
    pre=_html_pre,
    link=lambda text, url: f'<a href="{html_escape(url)}">{text}</a>',
    quote=lambda text: f"<blockquote>{text}</blockquote>",
)
"""Telegram's HTML. Source: https://core.telegram.org/bots/api#html-style"""

SLACK: Final = Dialect(
    escape=_slack_escape,
    strong=("*", "*"),
    em=("_", "_"),
    strike=("~", "~"),
    code=("`", "`"),
    pre=_fenced,
    link=lambda text, url: f"<{_slack_escape(url).replace('|', '%7C')}|{text}>",
)
"""Slack's mrkdwn. Source: https://docs.slack.dev/messaging/formatting-message-text"""

WHATSAPP: Final = Dialect(strong=("*", "*"), em=("_", "_"), strike=("~", "~"), code=("`", "`"), pre=_fenced)
"""WhatsApp's. Source: https://faq.whatsapp.com/539178204879377"""


def render(text: str, dialect: Dialect) -> str:
    """Return Markdown in a dialect. A line break stays one."""
    from markdown_it.tree import SyntaxTreeNode  # noqa: PLC0415 - only replies need it

    tree = SyntaxTreeNode(_parser().parse(text))
    return _blocks(tree.children, dialect)


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only replies need it

    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def _blocks(nodes: Iterable["SyntaxTreeNode"], dialect: Dialect, between: str = "\n\n") -> str:
    return between.join(shown for node in nodes if (shown := _block(node, dialect)))


def _block(node: "SyntaxTreeNode", dialect: Dialect) -> str:
    match node.type:
        case "paragraph" | "inline" | "th" | "td":
            shown = _inlines(node.children, dialect)
        case "heading":
            shown = _within(dialect.strong, _inlines(node.children, dialect))
        case "fence" | "code_block":
            language = node.info.split(maxsplit=1)[0] if node.info.strip() else ""
            shown = dialect.pre(dialect.escape(node.content.rstrip("\n")), language)
        case "blockquote":
            shown = dialect.quote(_blocks(node.children, dialect))
        case "bullet_list":
            shown = _listed(node.children, ["• "] * len(node.children), dialect)
        case "ordered_list":
            first = int(node.attrs.get("start", 1))
            shown = _listed(node.children, [f"{first + place}. " for place in range(len(node.children))], dialect)
        case "hr":
            shown = _RULE
        case "table" | "thead" | "tbody":
            shown = _blocks(node.children, dialect, "\n")
        case "tr":
            shown = " | ".join(_block(cell, dialect) for cell in node.children)
        case _:
            shown = _inlines(node.children, dialect) if node.children else dialect.escape(node.content)
    return shown


def _listed(items: Sequence["SyntaxTreeNode"], markers: Sequence[str], dialect: Dialect) -> str:
    lines = []
    for item, marker in zip(items, markers, strict=True):
        said = _blocks(item.children, dialect, "\n")
        lines.append(marker + said.replace("\n", f"\n{_INDENT}"))
    return "\n".join(lines)


def _inlines(nodes: Iterable["SyntaxTreeNode"], dialect: Dialect) -> str:
    return "".join(_inline(node, dialect) for node in nodes)


def _inline(node: "SyntaxTreeNode", dialect: Dialect) -> str:
    match node.type:
        case "softbreak" | "hardbreak":
            shown = "\n"
        case "strong":
            shown = _within(dialect.strong, _inlines(node.children, dialect))
        case "em":
            shown = _within(dialect.em, _inlines(node.children, dialect))
        case "s":
            shown = _within(dialect.strike, _inlines(node.children, dialect))
        case "code_inline":
            shown = _within(dialect.code, dialect.escape(node.content))
        case "link":
            shown = _link(_inlines(node.children, dialect), str(node.attrs.get("href", "")), dialect)
        case "image":
            shown = _link(dialect.escape(node.content), str(node.attrs.get("src", "")), dialect)
        case _:
            shown = _inlines(node.children, dialect) if node.children else dialect.escape(node.content)
    return shown


def _link(text: str, url: str, dialect: Dialect) -> str:
    return dialect.link(text or dialect.escape(url), url) if url else text


def _within(pair: Pair, text: str) -> str:
    return f"{pair[0]}{text}{pair[1]}" if text else ""
