import json

from tests.harness.processes import agentbus


def test_the_demo_ends_by_itself_with_nothing_lost_duplicated_or_reordered() -> None:
    shown = agentbus("demo", "--rounds", "3")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "lost 0, duplicated 0, reordered 0"
    steps = ("the bot replies", "is reset", "second time", "is parked", "replays it")
    for step in (*steps, "a guest on web chat", "the bot: Good morning!", "Telegram shows of the bot: Good morning!"):
        assert step in shown.stderr.replace("\n", " ")
    assert "closed" in shown.stdout


def test_the_demo_prints_json() -> None:
    result = json.loads(agentbus("demo", "--rounds", "1", "--json").stdout)
    assert result["published"] == result["committed"]
    assert {session["platform"] for session in result["sessions"]} == {
        "telegram",
        "slack",
        "whatsapp",
        "discord",
        "web",
        "webchat",
    }
