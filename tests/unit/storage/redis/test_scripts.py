"""The scripts: each is run by somebody, and each that is run is there."""

import re
from pathlib import Path
from typing import Final

import pytest

from agentbus.storage import redis
from agentbus.storage.redis.scripts import script

_FOLDER: Final = Path(redis.__file__).parent
_SHARED: Final = {"clock", "documents"}
"""What is put before others."""
_RUN: Final = re.compile(r'(?:run|_run|_walk)\((?:client, )?"([a-z_]+)"')
_WRITES: Final = re.compile(r"redis\.call\('(HSET|HDEL|HINCRBY|ZADD|ZREM|SADD|UNLINK)'|\bmove\(")


def test_each_script_is_run_and_each_that_is_run_is_there() -> None:
    run = {name for path in _FOLDER.glob("*.py") for name in _RUN.findall(path.read_text("utf-8"))}
    there = {path.stem for path in (_FOLDER / "lua").glob("*.lua")}
    assert run | _SHARED == there


@pytest.mark.parametrize("name", sorted(path.stem for path in (_FOLDER / "lua").glob("*.lua")))
def test_a_script_that_writes_nothing_says_so(name: str) -> None:
    own = (_FOLDER / "lua" / f"{name}.lua").read_text("utf-8")
    if name not in _SHARED:
        first = script(name).text.partition("\n")[0]
        assert first == ("#!lua" if _WRITES.search(own) else "#!lua flags=no-writes")


def test_a_script_is_known_by_its_digest() -> None:
    assert script("take") is script("take")
    assert len(script("take").digest) == 40
    assert script("take").digest != script("find").digest
