"""Background: commands that come by the thousand have rounds of their own, which nothing that people send waits for."""

import asyncio
from collections.abc import Sequence

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import StoreError
from agentbus.contracts.events import Commit, ExpiryStepTaken
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import InputId, SessionId, session_id_for
from agentbus.contracts.session import SessionStatus
from agentbus.storage.memory.log import MemoryLog
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import address, message
from tests.harness.faults import FaultyStore
from tests.harness.patience import PATIENCE
from tests.unit.workers.session.test_worker import Bench, running

MANY = 250
"""Enough for all rounds that there may be at a time."""


class Held(FaultyStore):
    """A store that takes no step of a rule until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.log = _HeldLog(self)


class _HeldLog(MemoryLog):
    def __init__(self, store: Held) -> None:
        super().__init__(store.heads)
        self._store = store

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        if any(isinstance(event, ExpiryStepTaken) for commit in commits for event in commit.events):
            self._store.reached.set()
            await self._store.go_on.wait()
        return await super().append(commits)


def session_of(user: str) -> SessionId:
    return session_id_for(conversation_id_for(address(user=user), Scope.PER_CHAT_USER), 1)


def expire(user: str) -> Input:
    step = ExpireSession(session_id=session_of(user), rule_id="rule", step=0, action=CleanupAction.EXPIRE, seen=2)
    return Input(InputId(f"expire {user}"), step)


async def begin(bench: Bench, users: Sequence[str]) -> None:
    await bench.client.publish_many([message(user, user=user) for user in users])
    await bench.until_texts(len(users))


async def test_what_people_send_waits_for_no_background_however_much_of_it_is_there() -> None:
    users = [f"user{number}" for number in range(MANY)]
    store = Held()
    async with running(store) as bench:
        await begin(bench, users)
        await Inputs(bench.bus).give([expire(user) for user in users])
        async with asyncio.timeout(PATIENCE):
            await store.reached.wait()

        for number in range(50):  # enough for rounds beside each other, and that would not do
            await bench.client.publish(message(f"later {number}", "later", user=f"other{number}"))
        assert (await bench.until_texts(MANY + 50)).count("later") == 50

        assert not store.go_on.is_set()
        store.go_on.set()
        await bench.until(lambda bench: _steps(bench) == MANY)
        heads = [await store.heads.get(session_of(user)) for user in users]
        assert {head.status for head in heads if head} == {SessionStatus.EXPIRED}


async def test_a_conversation_keeps_its_order_whatever_is_background_in_it() -> None:
    """What was said after a step that waits is carried out with it, after it, and begins the next session."""
    users = [f"user{number}" for number in range(MANY)]
    store = Held()
    async with running(store) as bench:
        await begin(bench, users)
        await Inputs(bench.bus).give([expire(user) for user in users])
        await bench.client.publish(message("after", "after", user=users[-1]))
        store.go_on.set()
        await bench.until_texts(MANY + 1)
        await bench.until(lambda bench: _steps(bench) == MANY)
        log = await bench.log(conversation_id_for(address(user=users[-1]), Scope.PER_CHAT_USER))
        inputs = [one for commit in log for one in commit.inputs]
        assert inputs.index(InputId(f"expire {users[-1]}")) < inputs.index(message("after", user=users[-1]).input_id())


def _steps(bench: Bench) -> int:
    return len({event.id for event in bench.events if isinstance(event.data, ExpiryStepTaken)})
