"""A rolling upgrade: workers of an earlier release beside those of this one, on one broker and one store."""

import asyncio
import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest

from agentbus.contracts.address import Address, Scope, conversation_id_for
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.operations.store_check import Finding, check_store
from agentbus.storage.factory import open_store
from agentbus.storage.reading import iter_sessions
from agentbus.testing import Published, check, read_evidence
from tests.e2e.conftest import PARTITIONS, Distributed
from tests.harness.processes import ROOT, Program, running_worker, started

EARLIER: Final = "844caade4a54df6b75ecf3e9e33554e75eb69fc2"
"""The release to upgrade from: before inputs were told apart by how they fail, and damage from an outage."""
CHATS: Final = 12
ROUNDS: Final = 10
SECONDS: Final = 90


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages of the earlier release."""
    packages = ("contracts", "storage", "workers", "agentbus")
    archived = subprocess.run(["git", "archive", EARLIER, *packages], cwd=ROOT, capture_output=True, check=False)
    assert archived.returncode == 0, (
        f"the earlier release is in the history: git fetch --unshallow: {archived.stderr!r}"
    )
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_inputs_hold_what_an_earlier_release_does_not_know_only_where_it_is_used(earlier: Path) -> None:
    before, now = (
        json.loads((folder / "contracts/schema/v1/input.json").read_text("utf-8"))["$defs"]
        for folder in (earlier, ROOT)
    )
    added = {
        f"{name}.{field}": schema["properties"][field].get("default", "needed")
        for name, schema in now.items()
        if name in before
        for field in schema.get("properties", {}).keys() - before[name].get("properties", {}).keys()
    }
    assert "UpdateSession.seen_status" in added
    # None is left out of what is sent.
    assert not {name: default for name, default in added.items() if default is not None}


@contextmanager
def session_worker(distributed: Distributed, release: Path) -> Iterator[Program]:
    with running_worker("session", folder=distributed.folder, env=distributed.env | _finding(release)) as program:
        yield program


TALK: Final = """
import asyncio, sys
from datetime import UTC, datetime
from agentbus.client import connect
from CONTRACTS.address import Address
from CONTRACTS.commands import SetData
from CONTRACTS.messages import InboundMessage, TextContent

async def main(url, partitions, chats, first, last):
    places = [Address(platform="telegram", chat=f"chat{chat}", user="ada") for chat in range(chats)]
    async with connect(url, partitions=partitions) as client, asyncio.timeout(90):
        for number in range(first, last):
            content = TextContent(text=f"{number}")
            await client.publish_many([
                InboundMessage(address=place, message_id=f"{number}", sent_at=datetime.now(UTC), content=content)
                for place in places
            ])
        for place in places:
            await client.send(SetData(address=place, values={"said": last}), command_id=f"{place.chat}-{last}")

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""
"""Says something in every chat, again and again; ends once a command behind it was carried out in each."""


@dataclass
class Chats:
    """What is said in them while workers come and go, by publishers of both releases."""

    distributed: Distributed
    said: int = 0

    async def talk(self, *releases: Path) -> None:
        """Let a publisher of each release talk."""
        for release in releases:
            first, self.said = self.said, self.said + ROUNDS
            arguments = (self.distributed.amqp_url, PARTITIONS, *map(str, (CHATS, first, self.said)))
            talk = TALK.replace("CONTRACTS", _name_of_contracts(release))
            with started("-c", talk, *arguments, folder=self.distributed.folder, env=_finding(release)) as publisher:
                assert await asyncio.to_thread(publisher.process.wait, SECONDS) == 0, publisher.output()

    def published(self) -> list[Published]:
        """Return the messages and commands of all that talked, in their order."""
        given: list[Published] = []
        for chat in range(CHATS):
            for number in range(self.said):
                message = _said(chat, number)
                conversation = conversation_id_for(message.address, Scope.PER_CHAT_USER)
                given.append(Published(conversation, message.input_id(), True))
                if (number + 1) % ROUNDS == 0:
                    given.append(Published(conversation, InputId(f"chat{chat}-{number + 1}"), True))
        return given


def _finding(release: Path) -> dict[str, str]:
    """Return the variables by which a program finds a release; this one is there, and begins warm."""
    return {} if release == ROOT else {"PYTHONPATH": str(release), "PYTHONSAFEPATH": "1"}


def _name_of_contracts(release: Path) -> str:
    """Return what the contracts are imported as: a package of their own before they became `agentbus.contracts`."""
    return "agentbus.contracts" if (release / "agentbus" / "contracts").exists() else "contracts"


def _said(chat: int, number: int) -> InboundMessage:
    where = Address(platform="telegram", chat=f"chat{chat}", user="ada")
    content = TextContent(text=f"{number}")
    return InboundMessage(address=where, message_id=f"{number}", sent_at=datetime.now(UTC), content=content)


@pytest.mark.timeout(600)  # fifteen programs are started; each takes some seconds where the cores are busy
async def test_workers_of_two_releases_lose_double_and_reorder_nothing(distributed: Distributed, earlier: Path) -> None:
    chats = Chats(distributed)
    with ExitStack() as stack:
        old = [stack.enter_context(session_worker(distributed, earlier)) for _ in range(2)]
        await chats.talk(earlier)
        for one in old:  # Workers first: a worker declares what publishers of its release need.
            new = stack.enter_context(session_worker(distributed, ROOT))
            await chats.talk(earlier, ROOT)
            assert await asyncio.to_thread(one.stop) == 0, one.output()
            await chats.talk(ROOT, earlier)
            assert new.process.poll() is None, new.output()
    published = chats.published()
    async with open_store(distributed.store_url) as store:
        verdict = check(await read_evidence(store, published))
        heads = [head async for head in iter_sessions(store, SessionFilter())]
        wrong = [one async for one in check_store(store, repair=False) if isinstance(one, Finding)]
    assert verdict.held, verdict.as_dict()
    assert (verdict.lost, verdict.duplicated, verdict.reordered, verdict.parked) == (0, 0, 0, 0)
    assert verdict.committed == len(published) == 9 * CHATS * (ROUNDS + 1)
    assert {(head.message_count, head.data["said"]) for head in heads} == {(chats.said, chats.said)}
    assert len(heads) == CHATS
    assert wrong == [], "heads of one release are those of the other"
