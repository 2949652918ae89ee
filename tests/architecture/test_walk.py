"""The walk names the stations in the order in which they are passed."""

import pytest

from tests.architecture.walk import main


def test_a_session_is_created_by_decide_append_announce_answer(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stations"])
    created, _, message = capsys.readouterr().out.partition("\nmessage: ")
    order = ("SessionManager.create_session", "Inputs.ask", "SessionWorker._receive", "Lanes.take", "decide.py: decide")
    after = ("MemoryLog.append", "MemoryHeads.save", "Announcer.announce", "Committer._reply", "MemoryDelivery.ack")
    places = [created.index(station) for station in (*order, *after)]
    assert places == sorted(places)
    assert "files, " in message
    assert message.index("AgentBus.publish") < message.index("decide.py: decide") < message.index("MemoryDelivery.ack")
