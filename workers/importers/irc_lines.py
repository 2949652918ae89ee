"""What a line of an IRC log says, however its program writes it: who said what, or that it is a notice.

Each pattern looks at a line once from its beginning, so that a long line takes no longer than its length.
"""

import re
from dataclasses import dataclass
from typing import Final

STAMP: Final = re.compile(
    r"""
    (?P<open>\[)?
    (?:
        (?P<iso>\d{4}-\d\d-\d\d)[ T]                                                       # ISO 8601, WeeChat, Textual
      | (?:[A-Z][a-z]{2}\ )?(?P<month>[A-Z][a-z]{2})\ {1,2}(?P<day>\d\d?)(?:\ (?P<year>\d{4})\]\ \[|\ )  # Konversation,
                                                                                           # HexChat
      | (?P<day_before>\d\d?)[ -](?P<month_after>[A-Z][a-z]{2})(?:[ -](?P<year_after>\d{4}))?\   # dircproxy, supybot
    )?
    (?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?:[:.](?P<second>[0-5]\d))?(?:[.,]\d{1,9})?
    (?:\ ?(?P<half>[AaPp])[Mm]\b)?
    (?P<offset>Z|[+-]\d\d:?\d\d)?
    (?(open)\])(?P<gap>[ \t]+)
    """,
    re.VERBOSE,
)
"""When: all that stands before what is said."""

_NICK: Final = r"[ @+%&~!]{0,3}(?P<nick>[^<> ](?:[^<>]{0,253}[^<> ])?) {0,3}"
_SAID: Final = re.compile(rf"<{_NICK}>[ \t]?(?P<text>.*)", re.DOTALL)
_NOTICED: Final = re.compile(
    r"-(?P<nick>[^\s:/()<>-][^\s:/()<>]{0,253})[:/][@+%&~!]?[#&+!]\S{0,254}?-[ \t](?P<text>.*)", re.DOTALL
)
_ACTIONS: Final = (
    re.compile(r"\*[ \t]+[@+%&~!]{0,3}(?P<nick>[^\s:*]{1,255}) (?P<text>.*)", re.DOTALL),  # most
    re.compile(r"Action: (?P<nick>[^\s:*]{1,255}) (?P<text>.*)", re.DOTALL),  # eggdrop
    re.compile(r"• (?P<nick>[^\s:*]{1,255}): (?P<text>.*)", re.DOTALL),  # Textual
    re.compile(r"\u2014 (?P<nick>[^\s:*]{1,255}) (?P<text>.*)", re.DOTALL),  # IRCCloud
)
_HOST: Final = re.compile(r"(?P<nick>[^!\s]+)!\S+@\S*")

_HOST_IN_BRACKETS: Final = r"\([^()\s@]{0,255}@[^()\s]{0,255}\)"
_LED: Final = re.compile(
    r"\*{3}|-!-|={3}|-->|<--|--|=-=|=!=|\|<--|-\*-|[\u2190-\u21ff]"  # what programs put before what nobody said
    r"|![\w.-]{1,255} "  # by a server
    r"|-[^\s<>]{1,255}-[ \t]"  # a notice to whoever keeps the log, or by a server
    r"|Session (?:Start|Ident|Close|Time):"  # mIRC
    r"|[A-Z][A-Za-z]{2,15}\t"  # Konversation: `Join`, `Quit`, `Topic` and others in a column
    rf"|\S{{1,255}} {_HOST_IN_BRACKETS} (?:joined|left|got netsplit|returned)[ .]|\S{{1,255}}: mode change '"
    r"|Nick change: |Topic changed on |\S{1,255} kicked from \S{1,255} by "  # eggdrop
)
_ABOUT_ALL: Final = (
    r"(?:Now talking |Topic (?:is|for|changed|set)\b|Set by |Rejoined |Retrieving |Disconnected\b|Connect(?:ed|ing)\b"
    r"|You |Attempting to |Looking up |Users on |End of |Joins:|Parts:|Quits:|Ban list|Loaded |Closing |Can(?:no|')t )"
)
_ABOUT_ONE: Final = (
    r"(?:has (?:joined|left) [#&+!]|has quit(?: [(\[]|$)|is now known as \S+$|sets mode"
    r"|sets (?:channel|ban|invite|exempt)|(?:gives|removes) (?:channel|voice|ban|exempt|invite)"
    r"|(?:has been|has|was) kicked (?:\S{1,255} )?(?:from|by) |(?:has changed|has set|changes|changed) (?:the )?topic "
    r"|set the topic |for [#&+!]\S{0,255} (?:is|set)|has invited you|is now (?:away|back)$)"
)
_ANYBODY: Final = r"[@+%&~!]{0,3}[^\s:*]{1,255} "
_EVENT: Final = re.compile(
    rf"\*[ \t]+(?:{_ABOUT_ALL}|{_ANYBODY}(?:\([^)]*\) |\[[^]]*\] {{1,3}})?{_ABOUT_ONE}"
    rf"|{_ANYBODY}{_HOST_IN_BRACKETS} has (?:joined|left|quit)\b)"
)
_WEECHAT_NOTICES: Final = frozenset({"", "-->", "<--", "--", "=!="})
_MODES: Final = "@+%&~! "


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who says what; an action is `/me waves`, which is what was typed."""

    nick: str
    text: str


def body_of(line: str, stamp: re.Match[str] | None) -> str:
    """Return what stands behind the time."""
    return line[stamp.end() :] if stamp else line


def spoken_in(line: str, stamp: re.Match[str] | None) -> Spoken | None:
    """Return who says what; None for a line that is a notice, or of no kind that is known."""
    if stamp and stamp["iso"] and stamp["gap"].startswith("\t"):
        return _in_columns(line[stamp.start("gap") + 1 :])
    body = body_of(line, stamp)
    if said := _SAID.match(body) or _NOTICED.match(body):
        host = _HOST.fullmatch(said["nick"])
        return Spoken(host["nick"] if host else said["nick"], said["text"])
    if _EVENT.match(body):
        return None
    action = next(filter(None, (form.match(body) for form in _ACTIONS)), None)
    return Spoken(action["nick"], f"/me {action['text']}") if action else None


def is_notice(line: str, stamp: re.Match[str] | None) -> bool:
    """Tell whether a line that nobody said is of a kind that is known."""
    body = body_of(line, stamp)
    if stamp and stamp["iso"] and stamp["gap"].startswith("\t"):
        prefix, tab, _ = line[stamp.start("gap") + 1 :].partition("\t")
        return bool(tab) and prefix.strip() in _WEECHAT_NOTICES
    return bool(_LED.match(body) or _EVENT.match(body))


def looks_like(line: str) -> bool:
    """Tell whether `line` is something said or told in an IRC log, with its time."""
    stamp = STAMP.match(line)
    return bool(stamp and (spoken_in(line, stamp) or is_notice(line, stamp)))


def _in_columns(rest: str) -> Spoken | None:
    """Read a line of WeeChat: prefix, tab, text."""
    prefix, tab, text = rest.partition("\t")
    prefix = prefix.strip()
    if not tab or prefix in _WEECHAT_NOTICES:
        return None
    if prefix == "*":
        nick, _, text = text.partition(" ")
        return Spoken(nick.lstrip(_MODES), f"/me {text}") if nick.lstrip(_MODES) else None
    nick = prefix.lstrip(_MODES)
    return Spoken(nick, text) if nick and " " not in nick else None
