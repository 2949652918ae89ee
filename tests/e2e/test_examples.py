"""The examples, run as their readers would run them."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.processes import ROOT, started

EXAMPLES = ROOT / "examples"


def example(name: str) -> str:
    return str(EXAMPLES / name)


@pytest.mark.usefixtures("session_worker")
def test_publisher_subscriber_and_echo_bot(distributed: Distributed, tmp_path: Path) -> None:
    with ExitStack() as stack:
        env = distributed.env
        subscriber = stack.enter_context(started(example("subscriber.py"), folder=tmp_path, env=env))
        bot = stack.enter_context(started(example("echo_bot.py"), folder=tmp_path, env=env))
        subscriber.until_printed("listening")
        bot.until_printed("listening")
        publisher = stack.enter_context(started(example("publisher.py"), "Hi there", folder=tmp_path, env=env))
        assert publisher.process.wait(30) == 0, publisher.output()
        assert "confirmed" in publisher.output()
        for topic in ("session.started.web", "session.message.web", "session.reply.web"):
            subscriber.until_printed(topic)
    listed = json.loads(called("sessions", "list", "--json", env=distributed.env).stdout)
    (session,) = listed["items"]
    shown = called("sessions", "history", session["session_id"], env=distributed.env).stdout
    assert "Hi there" in shown
    assert "You said: Hi there" in shown


@pytest.mark.usefixtures("session_worker")
def test_the_bot_with_memory_tells_what_it_was_told(distributed: Distributed, tmp_path: Path) -> None:
    env = distributed.env
    with started(example("memory_bot.py"), folder=tmp_path, env=env) as bot:
        bot.until_printed("listening")
        with started(example("subscriber.py"), folder=tmp_path, env=env) as subscriber:
            subscriber.until_printed("listening")
            called("publish", "I like tea", "--chat", "memory", "--user", "ann", env=env)
            subscriber.until_printed("session.reply")
    listed = json.loads(called("sessions", "list", "--chat", "memory", "--json", env=env).stdout)
    (session,) = listed["items"]
    shown = called("sessions", "history", session["session_id"], env=env).stdout
    assert "You told me 1 things:" in shown
    assert "1. I like tea" in shown


@pytest.mark.usefixtures("session_worker", "ingress_worker")
def test_a_process_without_our_code_publishes_and_subscribes(distributed: Distributed, tmp_path: Path) -> None:
    source = (EXAMPLES / "plain_publisher.py").read_text() + (EXAMPLES / "plain_subscriber.py").read_text()
    for package in ("agentbus", "contracts", "storage", "workers"):
        assert f"import {package}" not in source
        assert f"from {package}" not in source
    env = distributed.env
    with started(example("plain_subscriber.py"), folder=tmp_path, env=env) as subscriber:
        subscriber.until_printed("listening")
        with started(example("plain_publisher.py"), folder=tmp_path, env=env) as publisher:
            assert publisher.process.wait(30) == 0, publisher.output()
        assert subscriber.process.wait(30) == 0, subscriber.output()
        assert "Hello from outside!" in subscriber.output()
