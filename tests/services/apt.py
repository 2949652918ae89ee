"""Installing Debian packages without starting their services."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.errors import MissingProgram

# Asked by every package before it starts a service; 101 means "don't".
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSE = "#!/bin/sh\nexit 101\n"
_LINES_OF_ERROR = 15


def can_install() -> bool:
    """Whether this is Debian or a relative, and we are root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str, service: str | None = None) -> None:
    """Install packages; what service they bring runs neither now nor after a boot. Raises MissingProgram."""
    _run("apt-get", "update")
    with _no_service_starts():
        _run("apt-get", "install", "--yes", "--no-install-recommends", *packages)
    if service is not None:
        _run("update-rc.d", service, "disable")
        _run("service", service, "stop")  # in case the machine's own policy let it start


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Refuse starts for a while; a policy that the machine has already is left as it is."""
    if POLICY.exists():
        yield
        return
    try:
        POLICY.write_text(_REFUSE)
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _run(*command: str) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES_OF_ERROR:])
        message = f"{' '.join(command)} failed:\n{output}"
        raise MissingProgram(message)
