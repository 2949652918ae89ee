"""What begins with its libraries imported is the process that it would be otherwise."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT
from tests.harness.warm import WARM, Process, Warm, begin, warming

TOLD = """
import os, sys, tempfile
print(tempfile.gettempdir(), os.getcwd(), sys.argv, os.environ.get("ONE"), os.environ.get("TWO"))
print(__name__, "aio_pika" in sys.modules)
print("beside", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with warming() as address:
        yield address


@pytest.fixture
def warm(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(WARM, address)
    return address


def begun(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        environment = {**os.environ, **(env or {})}
        return begin(arguments, cwd=folder, env=environment, stdout=out.fileno(), stderr=err.fileno())


def ended(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    code = begun(folder, *arguments, env=env).wait(PATIENCE)
    out, err = ((folder / name).read_text("utf-8", errors="surrogateescape") for name in ("out", "err"))
    return code, out, err


@pytest.mark.usefixtures("warm")
def test_it_has_what_it_is_given_and_nothing_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(tmp_path, "-c", "import os; os.environ['TWO'] = '2'; os.chdir('/')", env={"TWO": "1"}) == (0, "", "")
    monkeypatch.delenv("TWO", raising=False)
    code, out, err = ended(tmp_path, "-c", TOLD, "a", "b c", env={"ONE": "é\udcff", "TMPDIR": str(tmp_path)})
    assert (code, err) == (0, "beside\n")
    monkeypatch.delenv(WARM)
    cold = ended(tmp_path, "-c", TOLD, "a", "b c", env={"ONE": "é\udcff", "TMPDIR": str(tmp_path)})
    assert (code, out.replace("True", "False"), err) == cold
    assert out.startswith(f"{tmp_path} {tmp_path} ")


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-m", "agentbus", "--version"), 0, ""),
        (("-m", "agentbus", "no-such-command"), 2, "No such command"),
        (("-m", "no_such_module"), 1, "no_such_module"),
        (("-c", "import sys; sys.exit('not today')"), 1, "not today\n"),
        (("-c", "def f(): raise ValueError('here')\nf()"), 1, 'File "<string>", line 1, in f\nValueError: here'),
        (("-c", "import atexit, sys; atexit.register(lambda: print('last', file=sys.stderr)); sys.exit(7)"), 7, "last"),
    ],
)
def test_it_ends_as_it_would_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], code: int, said: str
) -> None:
    warm = ended(tmp_path, *arguments)
    monkeypatch.delenv(WARM)
    cold = ended(tmp_path, *arguments)
    assert warm[:2] == cold[:2]
    assert (warm[0], cold[0]) == (code, code)
    assert said in warm[2]
    assert said in cold[2]


@pytest.mark.usefixtures("warm")
def test_it_is_signalled_and_waited_for(tmp_path: Path) -> None:
    sleeping = begun(tmp_path, "-c", "import time; time.sleep(600)")
    assert isinstance(sleeping, Warm)
    other = begun(tmp_path, "-c", "import time; time.sleep(600)")
    assert sleeping.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        sleeping.wait(0.05)
    sleeping.kill()
    assert sleeping.wait(PATIENCE) == sleeping.poll() == sleeping.returncode == -signal.SIGKILL
    sleeping.send_signal(signal.SIGKILL)  # nothing: its id may be another's
    assert not Path(f"/proc/{sleeping.pid}").exists()
    assert other.poll() is None
    other.terminate()
    assert other.wait(PATIENCE) == -signal.SIGTERM


@pytest.mark.usefixtures("warm")
def test_it_reads_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("one\ntwo")
    with (tmp_path / "in").open("rb") as given, (tmp_path / "out").open("wb") as out:
        files = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": out.fileno()}
        program = "import sys; print(sys.stdin.read().upper())"
        assert begin(["-c", program], cwd=tmp_path, env=os.environ, **files).wait(PATIENCE) == 0
    assert (tmp_path / "out").read_text() == "ONE\nTWO\n"
    assert ended(tmp_path, "-c", "import sys; print(repr(sys.stdin.read()))") == (0, "''\n", "")


@pytest.mark.usefixtures("warm")
def test_what_the_interpreter_reads_at_its_start_needs_one_of_its_own(tmp_path: Path) -> None:
    code, out, _ = ended(tmp_path, "-c", "import sys; print(sys.flags.utf8_mode)", env={"PYTHONUTF8": "1"})
    assert (code, out) == (0, "1\n")
    assert isinstance(begun_and_ended(tmp_path, "script.py"), subprocess.Popen)


def begun_and_ended(folder: Path, name: str) -> Process:
    (folder / name).write_text("")
    process = begun(folder, name)
    assert process.wait(PATIENCE) == 0
    return process


def test_who_says_nothing_of_use_disturbs_nobody(warm: str, tmp_path: Path) -> None:
    for said in (b"", b"\0\0\0\5nooo", b"\xff" * 100):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(warm)
            asking.sendall(said)
    assert ended(tmp_path, "-c", "print(1)") == (0, "1\n", "")


def test_it_is_said_when_nobody_is_there_to_start_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warming() as address:
        monkeypatch.setenv(WARM, address)
        left = begun(tmp_path, "-c", "import time; time.sleep(600)")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="who starts the programs of this run is gone"):
            left.poll()
    os.kill(left.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="No such file"):
        begun(tmp_path, "-c", "")


def test_a_run_of_several_processes_has_one(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"import os\ndef test_it(): assert os.environ[{WARM!r}]\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.harness.warm"]\n')
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for own in ("PYTEST_XDIST_WORKER", WARM):
        environment.pop(own, None)
    for several, code in (("2", 0), ("0", 1)):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "xdist",
            "-n",
            several,
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout
