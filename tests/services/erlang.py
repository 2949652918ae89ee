"""What Erlang nodes need to find and trust each other: a port mapper (epmd) and a cookie.

Both are private to this Python process, so that nothing is shared with another broker of the machine,
and common to its brokers, so that these can form a cluster.
"""

import os
import secrets
import signal
import threading
from pathlib import Path
from typing import ClassVar

from tests.services.local import PrivateFolder, Program
from tests.services.ports import LOOPBACK, free_port, listens
from tests.services.programs import erlang_program
from tests.services.service import wait_until

COOKIE = secrets.token_hex(16)

_LOADING = """
Path = code:get_path(),
Of = fun All([], Found) -> maps:values(Found);
         All([App | Rest], Found) when is_map_key(App, Found) -> All(Rest, Found);
         All([App | Rest], Found) ->
             case code:where_is_file(atom_to_list(App) ++ ".app") of
                 non_existing -> All(Rest, Found);
                 File ->
                     {ok, [{application, App, Told}]} = file:consult(File),
                     Modules = proplists:get_value(modules, Told, []),
                     Needs = proplists:get_value(applications, Told, []),
                     All(Needs ++ Rest, Found#{App => {filename:dirname(File), Modules}})
             end
     end([APPLICATIONS], #{}),
code:set_path([Folder || {Folder, _} <- Of]),
code:ensure_modules_loaded(lists:append([Modules || {_, Modules} <- Of])),
code:set_path(Path).
"""


class Epmd:
    """Erlang's port mapper on a port of its own; started for the first broker, ended with the last."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar["Epmd | None"] = None

    def __init__(self) -> None:
        program = str(erlang_program("epmd"))
        self.port = free_port()
        self._users = 0
        self._folder = PrivateFolder("agentbus-epmd-")
        self._program = Program(self._folder.path, [program, "-port", str(self.port), "-address", LOOPBACK])
        wait_until(lambda: listens(self.port), what="epmd", seconds=10.0, check=self._program.check)

    @classmethod
    def acquire(cls) -> "Epmd":
        """Return the process's port mapper, started if need be. Raises MissingProgram and StartFailed."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            cls._shared._users += 1
            return cls._shared

    def release(self) -> None:
        """To be called once for each `acquire`."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._program.end(signal.SIGKILL)
                self._folder.close()
                type(self)._shared = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.pid


def write_cookie(home: Path) -> None:
    """Put the cookie where Erlang looks for it, readable by its owner only, as Erlang demands."""
    path = home / ".erlang.cookie"
    path.touch(mode=0o600)
    path.write_text(COOKIE)


def erlang_environment(home: Path, epmd: Epmd) -> dict[str, str]:
    """Our environment without anybody's settings for Erlang or RabbitMQ, and with those of this process."""
    foreign = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(epmd.port),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_CRASH_DUMP": str(home / "erl_crash.dump"),  # otherwise rabbitmqctl, killed, leaves it where we stand
        "LC_ALL": "C.UTF-8",  # otherwise rabbitmqctl warns about the encoding of names
    }
    return env | own


def loading_at_once(*applications: str) -> str:
    """Return the Erlang expressions that load all modules of applications and of those that they need.

    RabbitMQ looks at each of them as it starts. Loaded one by one, each is looked for in a hundred folders, and has the
    table of all that is exported copied: a start took 6.2 s of a processor so, and takes 3.2 when this goes before.
    """
    return _LOADING.replace("APPLICATIONS", ", ".join(applications))
