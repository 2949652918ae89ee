"""A cancellation passes at every await, a clean-up has a deadline, a wait has an end: read out of the source.

Where something else is meant, it stands below with its reason.
"""

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from tests.architecture.endings import findings

_ROOT = Path(__file__).resolve().parents[2]
_TESTS = (_ROOT / "agentbus" / "testing" / "conformance", _ROOT / "agentbus" / "testing" / "cancelling.py")
"""They are tests, which whoever runs them ends, and cancel on purpose."""
_FILES = [
    file
    for package in ("workers", "agentbus")
    for file in sorted((_ROOT / package).rglob("*.py"))
    if not any(file.is_relative_to(one) for one in _TESTS)
]

_OWN_TASK = "the loop of a task of its own, which `close` ends"
_WAITS_FOR_ITS_TASKS = "takes up the cancellation, passes it on to what it ends, and raises it when that is over"
_UNTIL_CANCELLED = "whoever runs it cancels it"

ALLOWED = {
    "workers/bus/pump.py": {"Pump._run": _OWN_TASK},
    "workers/bus/supervision.py": {"SupervisedConsumer._keep": _OWN_TASK},
    "workers/bus/rabbit/outbox.py": {"Outbox._send_some": "until a confirm makes room; who posts gives up by itself"},
    "workers/concurrency.py": {
        "ended": _WAITS_FOR_ITS_TASKS,
        "_seen_through": _WAITS_FOR_ITS_TASKS,
        "side_by_side": "until the calls are over; a cancellation ends them",
        "SharedLock._until": "until those who hold the lock let go of it: what they do has its own ends",
    },
    "workers/delivery/served.py": {"ServedWorker.wait": "until the worker is closed"},
    "workers/ingress/router.py": {"IngressRouter.wait": "until the worker is closed"},
    "workers/reactive/worker.py": {"ReactiveWorker.wait": "until the worker is closed"},
    "workers/session/holdings.py": {
        "Holding.until_idle": "its caller sets the time",
        "Holdings._hand_back": "ends a consumer, which has its deadline",
    },
    "workers/session/settling.py": {
        "HeadsFlush.durable": "until its group's flush ends, however it does; a hand-back sets the time",
    },
    "workers/session/worker.py": {
        "SessionWorker._dispatch": _OWN_TASK,
        "SessionWorker.wait": "until the worker is closed, or fails",
    },
    "workers/repartition/change.py": {"_while_held": "until the work is over, or the lock is somebody else's"},
    "agentbus/http/streams.py": {
        "Streams.begun": "what it begins with has its time",
    },
    "agentbus/cli/events.py": {"tail": "until Ctrl-C, or the number of events asked for"},
    "agentbus/composition/running.py": {"_either": "until one of them is over"},
    "agentbus/catching_up.py": {"CatchUp.over": _UNTIL_CANCELLED},
    "agentbus/client.py": {"AgentBus.run": _UNTIL_CANCELLED, "AgentBus._nothing_left": "`run` ends it"},
    "agentbus/composition/probes.py": {
        "serving": "uvicorn ends within its own limit",
        "_counted.answer": "the call of a connection that was ended: there is nobody whom it could be told",
    },
    "agentbus/composition/supervision.py": {"Component.start": "until it works or fails; a cancellation stops it"},
    "agentbus/sessions/sections/locks.py": {"Leases.held": "the lock is let go of: the store's own time limit ends it"},
    "agentbus/sessions/running.py": {"Running._work": _UNTIL_CANCELLED},
}


def test_nothing_swallows_a_cancellation_or_waits_without_an_end() -> None:
    """And what is allowed is still there."""
    assert len(_FILES) > 300
    found = {str(file.relative_to(_ROOT)): findings(file.read_text("utf-8")) for file in _FILES}
    wrong = {file: [one for one in some if one.place not in ALLOWED.get(file, {})] for file, some in found.items()}
    assert {file: some for file, some in wrong.items() if some} == {}
    for file, places in ALLOWED.items():
        assert places.keys() <= {one.place for one in found[file]}, file


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("try:\n    await call()\nexcept Exception:\n    log()", "takes Exception for an ordinary failure"),
        ("try:\n    await call()\nexcept (KeyError, StoreError):\n    log()", "takes (KeyError, StoreError) for"),
        ("try:\n    async with call():\n        pass\nexcept:\n    log()", "takes everything for"),
        (
            "try:\n    async for one in call():\n        pass\nexcept BusError as error:\n    if x:\n        raise",
            "takes",
        ),
        ("with suppress(asyncio.CancelledError):\n    await task", "suppresses"),
        ("with suppress(*DRIVER_ERRORS):\n    await task", "suppresses"),
        (
            "try:\n    work()\nfinally:\n    await store.locks.release(1)",
            "awaits store.locks.release(1) on the way out",
        ),
        ("try:\n    work()\nexcept BaseException:\n    await undo()\n    raise", "awaits undo() on the way out"),
        ("await asyncio.gather(one(), two())", "leaves the others running"),
        ("async with asyncio.TaskGroup() as group:\n    pass", "counts as cancelled for good"),
        ("await event.wait()", "waits without an end: event.wait()"),
        ("await asyncio.wait({task})", "waits without an end"),
    ],
)
def test_each_kind_is_found(body: str, what: str) -> None:
    (found,) = findings(_in_a_method(body))
    assert found.place == "Worker.run"
    assert found.what.startswith(what)


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    await call()\nexcept Exception:\n    raise_if_cancelled()\n    log()",
        "try:\n    await call()\nexcept StoreError as error:\n    raise Other from error",
        "try:\n    await call()\nexcept KeyError:\n    log()",
        "try:\n    call()\nexcept Exception:\n    log()",
        "try:\n    await still_wanted(call())\nexcept Exception:\n    log()",
        "try:\n    def inner():\n        pass\nexcept Exception:\n    log()",
        "with suppress(KeyError):\n    await task",
        "with passing_over(StoreError):\n    await task",
        "try:\n    work()\nfinally:\n    await afterwards('let go', store.locks.release(1))",
        "try:\n    work()\nfinally:\n    await worker.close()",
        "await side_by_side((one(), two()))",
        "async with asyncio.timeout(1):\n    await event.wait()",
        "await asyncio.wait({task}, timeout=1)",
        "await asyncio.wait_for(event.wait(), 1)",
    ],
)
def test_what_is_right_is_not_found(body: str) -> None:
    assert findings(_in_a_method(body)) == []


def _in_a_method(body: str) -> str:
    return "class Worker:\n    async def run(self):\n" + "".join(
        f"        {line}\n" for line in dedent(body).splitlines()
    )


DRIVER_CALLS = ("queue_", "exchange_", "basic_consume", "basic_qos", "basic_get", "basic_cancel")
"""What the calls begin with that the broker answers on a channel."""


def unguarded(source: str) -> list[int]:
    """Return the lines of waits that may end as if they had not been cancelled: `wait_for`, and calls of the driver."""
    tree = ast.parse(source)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "called"
        for inner in ast.walk(node)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr == "wait_for" or (node.func.attr.startswith(DRIVER_CALLS) and id(node) not in guarded))
    ]


def test_nobody_waits_in_a_way_that_loses_a_cancellation() -> None:
    """`asyncio.wait_for` does in Python 3.11, and the driver waits by it if it is given a time limit."""
    found = {str(file.relative_to(_ROOT)): unguarded(file.read_text("utf-8")) for file in _FILES}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize("line", ["asyncio.wait_for(x, 1)", "channel.queue_bind('q', 'e')"])
def test_a_wait_that_loses_a_cancellation_would_be_found(line: str) -> None:
    assert unguarded(line) == [1]
    assert unguarded("called(channel.queue_bind('q', 'e'))") == []
