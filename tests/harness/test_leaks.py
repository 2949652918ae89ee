"""Each kind of leak fails the test that left it, and nobody else."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.harness.processes import ROOT

LEAKY = """
import asyncio, contextlib, socket, subprocess, tempfile, threading, time
import pymongo, pytest

kept = []

def test_good(tmp_path):
    with (tmp_path / "file").open("w"), socket.socket():
        asyncio.run(asyncio.sleep(0))

async def test_good_task():
    await asyncio.create_task(asyncio.sleep(0))

def test_good_thread_that_is_just_ending():
    threading.Thread(target=time.sleep, args=(0.05,)).start()

@contextlib.contextmanager
def full():
    # a server that takes no more connections, and says nothing of it
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()

async def test_good_attempt_that_pymongo_gives_up():
    with full() as (host, port):
        client = pymongo.AsyncMongoClient(f"mongodb://{host}:{port}", serverSelectionTimeoutMS=100)
        with pytest.raises(pymongo.errors.ServerSelectionTimeoutError):
            await client.admin.command("ping")
        await client.close()

def test_bad_attempt():
    with full() as address:
        cycle = [socket.socket()]
        cycle[0].setblocking(False)
        cycle[0].connect_ex(address)
        cycle.append(cycle)

@pytest.fixture(scope="module")
def wide():
    with socket.socket() as opened:
        yield opened

def test_good_what_a_wider_scope_opens(wide): ...
def test_good_what_a_wider_scope_opened(wide): ...

async def test_bad_task():
    kept.append(asyncio.create_task(asyncio.sleep(60)))

def test_bad_task_in_run():
    async def main():
        kept.append(asyncio.create_task(asyncio.sleep(60)))
    asyncio.run(main())

async def test_bad_late_task():
    async def first():
        try:
            await asyncio.sleep(60)
        finally:
            kept.append(asyncio.get_running_loop().create_task(second()))
    async def second():
        try:
            await asyncio.sleep(60)
        finally:
            kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(60)))
    kept.append(asyncio.create_task(first()))
    await asyncio.sleep(0)

async def test_bad_asyncio_complaint():
    asyncio.get_running_loop().call_exception_handler({"message": "never retrieved"})

def test_bad_loop(): kept.append(asyncio.new_event_loop())
def test_bad_socket(): kept.append(socket.create_server(("127.0.0.1", 0)))
def test_bad_file(tmp_path): kept.append((tmp_path / "file").open("w"))
def test_bad_folder(): tempfile.mkdtemp()
def test_bad_child(): kept.append(subprocess.Popen(["sleep", "30"]))
def test_bad_thread(): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()

def test_bad_cycle():
    cycle = [socket.socket()]
    cycle.append(cycle)

def test_good_and_last():
    assert True
"""
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
SAID = {
    "task": "task: <Task pending",
    "task_in_run": "task: <Task pending",
    "late_task": "task made while its loop was closed: <Task pending",
    "asyncio_complaint": "asyncio's error: never retrieved",
    "loop": "event loop or selector",
    "socket": "socket .*127.0.0.1",
    "file": "open file .*/file",
    "folder": "temporary file tmp",
    "child": "child process .*sleep 30",
    "thread": "thread Thread-",
    "attempt": "what only the collector found: <socket.socket",
    "cycle": "what only the collector found: <socket.socket",
}


def test_who_left_something_is_blamed_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.harness.leaks.plugin"]\n')
    (tmp_path / "pytest.ini").write_text(INI)
    (folder := tmp_path / "tmp").mkdir()  # it keeps the evidence of what failed, and here that is meant to
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "xdist", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    env.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-n", "2", str(tmp_path)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    blamed = dict(re.findall(r"ERROR at teardown of test_(\w+) _+\n((?:.+\n)+?)(?=_|=)", done.stdout))
    assert set(blamed) == {f"bad_{name}" for name in SAID}, done.stdout
    for name, said in SAID.items():
        assert re.search(said, blamed[f"bad_{name}"]), blamed[f"bad_{name}"]
    assert f"{LEAKY.count('def test_')} passed, {len(SAID)} errors" in done.stdout
