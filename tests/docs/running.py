"""Running a document's Python against a whole AgentBus inside the process."""

import ast
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

import agentbus.client
from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.settings import Settings
from agentbus.storage.memory import MemoryStore
from agentbus.subscription import Subscription
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.session.worker import SessionWorker
from tests.harness.patience import PATIENCE


@dataclass
class Seen:
    """What a document's code did."""

    committed: list[InputId] = field(default_factory=list)
    handled: list[str] = field(default_factory=list)


class WholeBus(MemoryBus):
    """What a reader's code connects to: a bus with everything behind it. Closing it waits until it is quiet."""

    def __init__(self, settings: Settings, seen: Seen) -> None:
        super().__init__(settings.bus.topology)
        self._seen = seen
        self._store = MemoryStore()
        self._worker = SessionWorker(self, self._store)
        self._router = IngressRouter(self)

    async def start(self) -> None:
        await super().start()
        await self.declare()
        await self._worker.start()
        await self._router.start()

    async def close(self) -> None:
        await self.until_quiet()
        await self._router.close()
        await self._worker.close()
        await super().close()
        self._seen.committed += [
            one for log in self._store.log._log.values() for commit in log.values() for one in commit.inputs
        ]

    async def until_quiet(self) -> None:
        """Wait until nothing waits and nothing is being worked on, in any queue that is consumed."""
        async with asyncio.timeout(PATIENCE):
            while any(
                queue.ready or any(consumer._unacked for consumer in queue.consumers)
                for queue in self._broker.queues
                if queue.consumers
            ):
                await asyncio.sleep(0)


@contextmanager
def whole_agentbus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Put a whole AgentBus behind `connect`, and let `run` handle one message instead of going on for ever."""
    seen = Seen()

    class SeenSubscription(Subscription):
        async def _handle(self, delivery: Delivery) -> None:
            await super()._handle(delivery)
            seen.handled.append(delivery.message_id)

    async def run(client: AgentBus) -> None:
        await client.start()
        await client.publish(_a_message())
        assert isinstance(client._bus, WholeBus)
        await client._bus.until_quiet()

    with monkeypatch.context() as patched:
        patched.setattr(agentbus.client, "make_bus", lambda settings: WholeBus(settings, seen))
        patched.setattr(agentbus.client, "Subscription", SeenSubscription)
        patched.setattr(AgentBus, "run", run)
        yield seen


def execute(source: str) -> None:
    """Execute a script; `await` may stand at its top level."""
    code = compile(source, "document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, {"__name__": "__main__"})  # noqa: S307 - the documents are ours
    if asyncio.iscoroutine(result):
        asyncio.run(result)


def imports_of(source: str) -> str:
    """Return the import statements alone, wherever in the script they stand."""
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(map(ast.unparse, statements))


def _a_message() -> InboundMessage:
    return InboundMessage(
        address=Address(platform=Platform.WEB, chat="lobby", user="reader"),
        message_id="first",
        sent_at=datetime.now(UTC),
        content=TextContent(text="Hello!"),
    )


def many_at_once(text: str, name: str, *, times: int) -> str:
    """Return code whose block `async with name(...) as it` runs so often at once; `it` is the first's afterwards."""
    tree = _AtOnce(name, times).visit(ast.parse(text))
    return ast.unparse(ast.fix_missing_locations(tree))


class _AtOnce(ast.NodeTransformer):
    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._times = times

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST | list[ast.stmt]:
        [item] = node.items
        if not ast.unparse(item.context_expr).startswith(f"{self._name}(") or item.optional_vars is None:
            return self.generic_visit(node)
        it = ast.unparse(item.optional_vars)
        body = "\n".join(f"    {line}" for line in ast.unparse(node).splitlines())
        code = (
            f"async def one():\n{body}\n    return {it}\n"
            f"{it} = (await asyncio.gather(*(one() for _ in range({self._times}))))[0]"
        )
        return ast.parse(code).body
