"""A library that is not installed is missed when it is needed, by a word on how to get it; the rest works without."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import EXTRAS, importing_extras
from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT

OURS = ("contracts", "storage", "workers", "agentbus")


def without(extras: Iterable[str], program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that can import nothing of these extras."""
    missing = [module for extra in extras for module in EXTRAS[extra]]
    refusing = f"import sys\nfor name in {missing}:\n    sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", refusing + program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


MODULES = {module for modules in EXTRAS.values() for module in modules}

FORKING = f"""
import json, os, signal, sys
missing_all = {sorted(MODULES)}
for name in missing_all:
    sys.modules[name] = None
import agentbus.cli.app, agentbus.composition.running, agentbus.composition.workers, agentbus.sessions

ended = []
for folder, missing, program in json.load(sys.stdin):
    if not (child := os.fork()):
        signal.alarm({PATIENCE:.0f})
        for number, name in enumerate(("out", "err"), 1):
            os.dup2(os.open(folder + "." + name, os.O_WRONLY | os.O_CREAT, 0o600), number)
        break
    ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    print(json.dumps(ended))
    sys.exit()
os.chdir(folder)
for name in set(missing_all) - set(missing):
    del sys.modules[name]
exec(compile(program, "<program>", "exec"), {{"__name__": "__main__"}})
"""
"""A program that becomes each of several, as `without` runs one, by forking: each takes a tenth of its time.

What it imports before is what they have in common, and needs no extra at all.
"""


def without_each(cases: Iterable[tuple[str, str]], folder: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """Run programs that can import nothing of an extra, each in a folder that it must leave empty."""
    asked = [(str(folder / str(nth)), EXTRAS[extra], program) for nth, (extra, program) in enumerate(cases)]
    for place, *_ in asked:
        Path(place).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (place, *_), code in zip(asked, json.loads(done.stdout), strict=True):
        out, err = (Path(f"{place}.{name}").read_text("utf-8") for name in ("out", "err"))
        assert list(Path(place).iterdir()) == [], place
        yield subprocess.CompletedProcess(place, code, out, err)


def raised_by(call: str) -> str:
    """Return a program that makes a call, and prints the ConfigurationError that it has to raise."""
    return f"""
from agentbus.contracts.errors import ConfigurationError
try:
    {call}
except ConfigurationError as error:
    print(error)
"""


STORE = "from agentbus.storage.factory import open_store; open_store({!r})"
BUS = (
    "from agentbus.workers.bus.factory import open_bus; from agentbus.contracts.topology import Topology; "
    "open_bus({!r}, Topology())"
)
WORKER = (
    "import asyncio; from agentbus.composition.running import run_workers as run; "
    "from agentbus.settings import load_settings as load; asyncio.run(run(load(), (), http_port=0))"
)
GATEWAY = (
    "from agentbus.composition.app import *; from agentbus.composition.workers import make_gateway as made; "
    "from agentbus.settings import load_settings as load; "
    "s = load(amqp_url='memory://', store_url='memory://', channels={'webhook': {}}); "
    "made(App(settings=s, bus=make_bus(s), store=make_store(s), clock=make_clock()))"
)
DISCORD = (
    "from agentbus.workers.adapters.factory import accounts_in; [one] = accounts_in({'discord': {'a': {'token': 't', "
    "'messages': True}}}); one.channel.sources('a', one.account)"
)
TRACING = (
    "from agentbus.composition.tracing import tracing; from agentbus.settings import load_settings as load; "
    "tracing(load(traces='links')).__enter__()"
)
CALLBACK = "import agentbus.sessions as s; s.create_{}_notification_callback({})"
OPENED = [
    ("rabbit", BUS.format("amqp://guest:guest@127.0.0.1:1/")),
    ("mongo", STORE.format("mongodb://127.0.0.1:1/x")),
    ("sql", STORE.format("sqlite:///x.db")),
    ("postgresql", STORE.format("postgresql://127.0.0.1:1/x")),
    ("mysql", STORE.format("mariadb://127.0.0.1:1/x")),
    ("redis", STORE.format("redis://127.0.0.1:1/0")),
    ("files", "from agentbus.storage.archive import open_archive; open_archive('memory://x')"),
    ("crypto", "from agentbus.storage.encryption import open_master_keys; open_master_keys('k:' + 'A' * 43 + '=')"),
    ("expiry", CALLBACK.format("email", "'localhost', 25, 'a@b.example', 'c@d.example'")),
    ("expiry", CALLBACK.format("webhook", "'https://b.example/', 'secret'")),
    ("http", WORKER),
    ("channels", GATEWAY),
    ("discord", DISCORD),
    ("otel", TRACING),
    ("plots", "from agentbus.plots import png_of; png_of([])"),
    ("testing", "import agentbus.testing.conformance"),
]


def test_what_is_missing_is_said_when_it_is_opened(tmp_path: Path) -> None:
    programs = [(extra, raised_by(call)) for extra, call in OPENED]
    for (extra, program), done in zip(programs, without_each(programs, tmp_path), strict=True):
        said = {f"{module} is not installed: pip install 'agentbus[{extra}]'\n" for module in EXTRAS[extra]}
        assert (done.stdout in said, done.stderr) == (True, ""), (program, done)


def test_each_extra_is_missed() -> None:
    assert {extra for extra, *_ in OPENED} == EXTRAS.keys()


COMMAND = "import sys\nfrom agentbus.cli import main\nsys.argv = {}\nmain()\n"


COMMANDS = [
    ("rabbit", ["publish", "--amqp", "amqp://127.0.0.1:1/", "--user", "ann", "hello"]),
    ("rabbit", ["worker", "session", "--amqp", "amqp://127.0.0.1:1/", "--store", "memory://"]),
    ("mongo", ["sessions", "list", "--store", "mongodb://127.0.0.1:1/x"]),
    ("sql", ["sessions", "list", "--store", "sqlite:///x.db"]),
    ("files", ["archive", "verify", "--store", "memory://", "--archive", "memory://x"]),
    ("http", ["worker", "session", "--amqp", "memory://", "--store", "memory://", "--http-port", "0"]),
]


def test_a_command_says_it_in_a_line(tmp_path: Path) -> None:
    programs = [(extra, COMMAND.format(["agentbus", *arguments])) for extra, arguments in COMMANDS]
    for (extra, program), done in zip(programs, without_each(programs, tmp_path), strict=True):
        assert (done.returncode, done.stdout) == (1, ""), (program, done)
        assert f"pip install 'agentbus[{extra}]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


WORKS = """
import asyncio
from agentbus.sessions import CleanupAction, Message, SessionSystem
from agentbus.sessions.config import make_config

async def use(**where):
    config = make_config(enable_sync=True, enable_expiry=True, **where)
    async with SessionSystem(config) as system:
        session = await system.create_session("lobby", "ann", "web")
        await system.add_message_to_session(session.session_id, Message(content="hello", user_id="ann"))
        return (await system.get_session(session.session_id)).message_count

print(asyncio.run(use()), asyncio.run(use(storage_type="FILE", storage_config={"storage_dir": "kept"})))
"""


def test_memory_and_files_need_no_extra(tmp_path: Path) -> None:
    done = without(EXTRAS, WORKS, tmp_path)
    assert (done.stdout, done.stderr) == ("1 1\n", "")


def test_the_demonstration_needs_what_its_store_and_archive_need(tmp_path: Path) -> None:
    done = without(
        EXTRAS.keys() - {"files"},
        COMMAND.format(["agentbus", "demo", "--store", "memory://", "--rounds", "1", "--json"]),
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lost"] == 0


def test_every_command_explains_itself_without_an_extra(tmp_path: Path) -> None:
    """So that nobody has to install a driver to read what a command is for."""
    program = """
from agentbus.cli.app import Commands
from typer.testing import CliRunner
from agentbus.cli import app
print(len([name for name in Commands.places if CliRunner().invoke(app, [name, "--help"]).exit_code == 0]))
"""
    from agentbus.cli.app import Commands  # noqa: PLC0415 - typer is slow to import, and this test alone needs it

    done = without(EXTRAS, program, tmp_path)
    assert done.stdout == f"{len(Commands.places)}\n", done.stderr


def test_another_module_that_is_missing_is_not_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), importing_extras():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401, PLC0415 - it is not there


def test_a_part_of_a_module_that_is_missing_is_that_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn.protocols", None)
    with (
        pytest.raises(ConfigurationError, match=r"uvicorn is not installed: pip install 'agentbus\[http\]'"),
        importing_extras(),
    ):
        import uvicorn.protocols  # noqa: F401, PLC0415 - it is not there


def unguarded(source: str) -> set[str]:
    """Return the modules of extras that a function imports without saying what is missing."""
    if not re.search(rf"\b(import|from) ({'|'.join(MODULES)})\b", source):
        return set()  # To look through a file takes a hundred times as long.
    tree = ast.parse(source)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any("importing_extras" in ast.unparse(one) for one in node.items)
        for inner in ast.walk(node)
    }
    inside = [
        node
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(one)
    ]
    named = {
        name.partition(".")[0]
        for node in inside
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in guarded
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    return named & MODULES


def test_who_imports_an_extra_when_it_is_used_says_what_is_missing() -> None:
    found = {
        str(file.relative_to(ROOT)): unguarded(file.read_text("utf-8"))
        for one in OURS
        for file in (ROOT / one).rglob("*.py")
    }
    assert {file: names for file, names in found.items() if names} == {}


def test_an_import_that_does_not_say_it_is_found() -> None:
    assert unguarded("def f():\n    import httpx") == {"httpx"}
    assert unguarded("def f():\n    with importing_extras():\n        from motor.x import y") == set()
    assert unguarded("import httpx\ndef f():\n    import json") == set()
