"""What people wrote, as it is shown: what can't be seen is named, what is long is cut, and says so."""

from datetime import UTC, datetime, timedelta

from agentbus.http.dashboard.shown import (
    ago,
    exact,
    figures,
    finalize,
    hexdump,
    lasting,
    link,
    path,
    short,
    size,
    ticked,
    visible,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_what_turns_or_hides_text_is_named() -> None:
    for given, shown in {
        "plain ünïcode שלום": "plain ünïcode שלום",
        "line\nbreak\ttab": "line\nbreak\ttab",
        "a\u202eb": "a⟦202E⟧b",
        "a\u2066b\u2069": "a⟦2066⟧b⟦2069⟧",
        "\u200b\ufeff\u00ad\u061c": "⟦200B⟧⟦FEFF⟧⟦00AD⟧⟦061C⟧",
        "\x00\x1b[31m\r\x7f\x85": "⟦0000⟧⟦001B⟧[31m⟦000D⟧⟦007F⟧⟦0085⟧",
        "\U000e0041": "⟦E0041⟧",
        "👩\u200d👧": "👩\u200d👧",
        "\ud800": "\\ud800",
    }.items():
        assert visible(given) == shown
        assert visible(given).isascii() or visible(given).encode()
    assert visible("x" * 30, 10) == "x" * 10 + "… (20 more characters)"


def test_every_value_of_a_page_is_made_so() -> None:
    assert finalize(None) == ""
    assert finalize(3) == 3
    assert finalize("a\u202e") == "a⟦202E⟧"
    assert len(str(finalize("x" * 10**6))) < 21_000
    assert finalize(exact("<\u202e>\ud800")) == "&lt;\u202e&gt;\\ud800"  # a form brings back what it was given


def test_moments_and_amounts_are_said_in_one_unit() -> None:
    assert ago(None, NOON) == "never"
    for seconds, said in {
        0: "now",
        5: "5 s ago",
        61: "1 min ago",
        7200: "2 h ago",
        90_000: "1 d ago",
        -90: "in 1 min",
    }.items():
        assert ago(NOON - timedelta(seconds=seconds), NOON) == said
    assert [lasting(one) for one in (None, 0.2, 90, timedelta(hours=2))] == ["", "0.2 s", "1.5 min", "2 h"]
    assert [size(one) for one in (0, 1023, 1536, 3 << 20)] == ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]


def test_links_hold_whatever_is_asked_for() -> None:
    assert path("sessions", "a/../b?c#d\ud800") == "/sessions/a%2F..%2Fb%3Fc%23d%5Cud800"
    assert link("/x", {"a": "", "b": None, "c": "&=\u202e", "d": ["1", "2"]}) == "/x?c=%26%3D%E2%80%AE&d=1&d=2"
    assert link("/x", {"a": ""}) == "/x"


def test_bytes_are_shown_sixteen_a_line() -> None:
    assert hexdump(b"") == ""
    assert hexdump(b"AB\x00\xff" * 5).splitlines() == [
        "000000  41 42 00 ff 41 42 00 ff 41 42 00 ff 41 42 00 ff  AB..AB..AB..AB..",
        f"000010  {'41 42 00 ff':<47}  AB..",
    ]
    assert ticked("use `<b>`, or `x") == "use <code>&lt;b&gt;</code>, or `x"
    assert len(hexdump(bytes(10_000)).splitlines()) == 32
    assert short("a\n b " * 100, 7) == "a b a b…"


def test_figures_are_told_by_name() -> None:
    told = {"dry_run": True, "whole": False, "count": 0, "sizes": {"big_ones": 7, "small": 0}, "none": {}, "who": "Ann"}
    assert figures({**told, "files": 1234}) == "dry run, count 0, big ones 7, files 1,234"
    assert figures(told, "faults") == "dry run, faults 0, big ones 7"
    assert figures({}) == ""
