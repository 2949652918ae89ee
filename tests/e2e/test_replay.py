"""Chat histories through the whole of AgentBus: in one process, and distributed."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.processes import ROOT, SHARED_DATA, Program, agentbus, started

SAMPLES = ROOT / "tests" / "samples" / "histories"
OWN = [
    SAMPLES / name
    for name in (
        "irc/2024-03-09_garden.txt",
        "telegram/result.json",
        "slack",
        "whatsapp/WhatsApp Chat with Garden Club.txt",
        "jsonl/messages.jsonl",
    )
]
SHARED = sorted(
    path
    for kind in ("irc", "telegram", "whatsapp")
    for path in (SHARED_DATA / kind).glob("*.*")
    if path.suffix in {".txt", ".json"}
)
HISTORIES = [*OWN, *SHARED]

Run = Callable[..., subprocess.CompletedProcess[str]]


def replay(file: Path, *options: str, run: Run = called) -> dict[str, Any]:
    done = run("replay", str(file), "--json", *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def assert_nothing_wrong(report: dict[str, Any]) -> None:
    assert report["committed"] + report["parked"] == report["published"] > 0
    assert (report["lost"], report["duplicated"], report["reordered"]) == (0, 0, 0)


@pytest.mark.timeout(900)  # two replays: one alone takes half a minute on two slow cores
@pytest.mark.usefixtures("session_worker")
def test_embedded_and_distributed_give_the_same_sessions(distributed: Distributed) -> None:
    where = ("--amqp", distributed.amqp_url, "--mongo", distributed.store_url, "--partitions", "8")
    for file in HISTORIES:
        embedded, spread = replay(file), replay(file, *where)
        assert_nothing_wrong(embedded)
        assert_nothing_wrong(spread)
        for field in ("published", "sessions", "events", "digest"):
            assert embedded[field] == spread[field], f"{field} of {file.name}"


def test_replaying_again_changes_nothing(tmp_path: Path) -> None:
    file = HISTORIES[0]
    store = f"sqlite:///{tmp_path}/kept.db"
    first = replay(file, "--store", store)
    second = replay(file, "--store", store, run=agentbus)
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def write_history(path: Path, messages: int, users: int) -> None:
    lines = [
        {
            "address": {"platform": "custom", "chat": "lobby", "user": f"user{number % users}"},
            "message_id": str(number),
            "sent_at": "2026-01-01T00:00:00Z",
            "content": {"kind": "text", "text": f"message {number}"},
        }
        for number in range(messages)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_worker_killed_in_the_middle_of_a_replay_loses_and_doubles_nothing(
    distributed: Distributed, tmp_path: Path
) -> None:
    file = tmp_path / "long.jsonl"
    write_history(file, messages=6000, users=40)
    kills = 0
    command = ("-m", "agentbus", "replay", str(file), "--json", "--patience", "60")
    with started("-m", "agentbus", "topology", "declare", folder=tmp_path, env=distributed.env) as declaring:
        declaring.process.wait(30)
    with started(*command, folder=tmp_path, env=distributed.env) as replaying:
        while replaying.process.poll() is None and kills < 5:
            for worker in distributed.worker():
                kill_soon(worker, replaying)
                kills += 1
        for _ in distributed.worker():
            assert replaying.process.wait(90) == 0, replaying.output()
    report = json.loads(replaying.output().splitlines()[-1])
    assert kills >= 2, "the replay was over before the worker could be killed twice"
    assert_nothing_wrong(report)
    assert report["published"] == report["committed"] == 6000


def kill_soon(worker: Program, replaying: Program) -> None:
    """Kill the worker a moment after it began to work."""
    try:
        replaying.process.wait(0.15)
    except subprocess.TimeoutExpired:
        worker.kill()
