"""Following a document as its reader would, on real services: commands typed in order, scripts saved and run."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.docs.markdown import ROOT, Block
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program

STAYS: Final = {
    "make up": "# running until Ctrl-C",
    "agentbus worker": "worker_started",
    "agentbus events tail": "listening to",
}
"""What goes on until Ctrl-C, by how it begins, and what it says when it is ready."""

HUNG: Final = 300.0
"""Seconds after which a command is taken never to end, however busy the machine is."""

PLACEHOLDERS: Final = {"SESSION_ID": r"\b[a-z2-7]{26}\.\d+\b"}
"""Words that stand for what an earlier command printed."""

_EXPORT: Final = re.compile(r"^export (\w+)='(.*)'$", re.MULTILINE)


@dataclass
class Running:
    """A program in a shell of its own."""

    line: str
    program: Program
    ready: str


@dataclass
class Reader:
    """Somebody who follows a document, in a folder, with a shell for each program that goes on."""

    folder: Path
    shells: ExitStack
    not_typed: dict[str, str]
    """Commands that are left out, each with the reason."""
    variables: dict[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    scripts: int = 0
    shown: str = ""
    """All that ended commands printed."""

    def follow(self, block: Block) -> None:
        """Do what a block shows."""
        if block.language == "python":
            self.save_and_run(block)
            return
        lines = block.text.replace("\\\n", " ").splitlines()
        for number, line in enumerate(lines):
            if line.startswith("$ "):
                self.type(line.removeprefix("$ ").strip())
            elif exported := _EXPORT.match(line):
                assert any(before.startswith("$ ") for before in lines[:number]), "shown by nothing"
                assert exported[1] in self.variables, f"{exported[1]} was not printed"

    def type(self, line: str) -> None:
        """Type a command; see what stays get ready, and the rest end well."""
        words = shlex.split(line, comments=True)
        command = shlex.join(words)
        if command in self.not_typed:
            self.left_out.append(command)
            return
        stays = next((name for name in STAYS if command.startswith(name)), None)
        if stays:
            self._open(line, ["bash", "-c", f"exec {line}"], STAYS[stays])
            return
        self._until_all_are_ready()
        self._show(["bash", "-c", self._filled_in(line)])
        if words[:2] == ["agentbus", "publish"]:
            self.sees(words[2])

    def save_and_run(self, block: Block) -> None:
        """Save a script and run it; one that handles events stays."""
        self.scripts += 1
        script = self.folder / f"script_{self.scripts}.py"
        script.write_text(block.text)
        command = [sys.executable, script.name]
        if ".run()" in block.text:
            self._open(script.name, command, "")
        else:
            self._show(command)

    def sees(self, text: str) -> None:
        """Wait until the window in which events go by shows `text`."""
        for one in self.running:
            if one.line.startswith("agentbus events tail"):
                one.program.until_printed(text)

    def output_of(self, line: str) -> str:
        """Return what a program that stays has printed so far."""
        (found,) = [one for one in self.running if one.line.startswith(line)]
        return found.program.output()

    def _filled_in(self, line: str) -> str:
        for word, pattern in PLACEHOLDERS.items():
            if word in line.split():
                found = re.findall(pattern, self.shown)
                assert found, f"nothing that was printed is a {word}:\n{self.shown}"
                line = line.replace(word, found[-1])
        return line

    def _until_all_are_ready(self) -> None:
        for one in self.running:
            one.program.until_printed(one.ready)

    def _show(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self._place(command),
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=HUNG,
            check=False,
        )
        told = f"{command[-1]}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, told
        assert "Traceback" not in done.stderr, told
        self.shown += done.stdout

    def _open(self, line: str, command: list[str], ready: str) -> None:
        log = self.folder / f"shell-{len(self.running)}.log"
        program = self.shells.enter_context(_shell(command, log, self._place(command), self._env()))
        self.running.append(Running(line, program, ready))
        if line.startswith("make up"):
            program.until_printed(ready)
            self.variables |= dict(_EXPORT.findall(program.output()))

    def _place(self, command: list[str]) -> Path:
        return ROOT if re.search(r"\bmake\b", command[-1]) else self.folder

    def _env(self) -> dict[str, str]:
        """Return a new shell's variables: `.venv/bin` on the path, nothing of the run's own.

        Python writes to a file when it likes; in a window what is printed is seen at once.
        """
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "USER") if name in os.environ}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1", **self.variables}


@contextmanager
def _shell(command: list[str], log: Path, folder: Path, env: dict[str, str]) -> Iterator[Program]:
    """Run a command in a shell of its own; at the end somebody presses Ctrl-C there, and it ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Program(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


@contextmanager
def reader(folder: Path, not_typed: dict[str, str]) -> Iterator[Reader]:
    """Sit down to follow a document in a folder; at the end Ctrl-C is pressed in every shell.

    A run of the tests in a shell's background ignores Ctrl-C, and what is started would inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ExitStack() as shells:
            yield Reader(folder, shells, not_typed)
    finally:
        signal.signal(signal.SIGINT, before)
