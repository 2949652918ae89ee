"""The part of the demonstration about a bot on two channels: somebody on a web page, and somebody on Telegram.

What they write takes the ways that it takes everywhere: a gateway, the bus, a session, the bot, the outbox, an outbound
worker. Telegram is one of our own, in this process.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App
from agentbus.composition.workers import make_gateway, make_outbound_worker
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import LOOPBACK
from agentbus.demo.person import Stage
from agentbus.demo.waiting import patience
from agentbus.received import ReceivedMessage
from agentbus.workers.worker import Worker

ACCOUNT: Final = "demo"
ASKED: Final = "Where is my parcel?"
SAID: Final = ("Good ", "morning! ", "It left ", "**Lisbon** ", "at six, ", "and is ", "with you ", "by noon.")
PAUSE: Final = 0.2
"""Seconds between two parts of what the bot writes: a model takes its time too."""

_TOKEN: Final = "1:demo"  # noqa: S105 - nobody's
_CHAT: Final = 7411


class FakeTelegram:
    """As much of Telegram's Bot API as the demonstration needs: it takes messages, and shows drafts of them."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        """What it shows, and whether that is a message."""
        self._sent = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve it while the body runs; give its address."""
        with importing_extras("channels"):
            from starlette.applications import Starlette  # noqa: PLC0415 - it needs an extra
            from starlette.requests import Request  # noqa: PLC0415 - the same
            from starlette.responses import JSONResponse  # noqa: PLC0415 - the same
            from starlette.routing import Route  # noqa: PLC0415 - the same

            from agentbus.composition.probes import serving  # noqa: PLC0415 - the same

        async def called(request: Request) -> JSONResponse:
            return JSONResponse({"ok": True, "result": self._result(request.path_params["call"], await request.json())})

        app = Starlette(routes=[Route(f"/bot{_TOKEN}/{{call}}", called, methods=["POST"])])
        async with serving(app, 0) as port:
            yield f"http://{LOOPBACK}:{port}"

    def _result(self, call: str, asked: Mapping[str, Any]) -> object:
        if call == "sendMessageDraft":
            self.shown.put_nowait((str(asked["text"]), False))
        if call != "sendMessage":
            return True
        self._sent += 1
        self.shown.put_nowait((str(asked["text"]), True))
        return {"message_id": self._sent, "chat": {"id": asked["chat_id"]}}


@dataclass
class _Channels:
    """The part's own workers, and who speaks through them."""

    stage: Stage
    telegram: FakeTelegram
    gateway: str
    web_secret: str
    telegram_secret: str

    async def answer(self, message: ReceivedMessage) -> None:
        """Be the bot: the same on every channel."""
        address = message.message.address
        if address is None or address.account != ACCOUNT:
            return  # that of the other parts of the demonstration
        partition = self.stage.system.bus.topology.partition_of(message.partitionkey)
        self.stage.receipts.append(Receipt(message.data.cause, message.partitionkey, partition))
        async with message.writing() as reply:
            for part in SAID:
                await reply.write(part)
                await asyncio.sleep(PAUSE)


async def one_bot(stage: Stage) -> None:
    """Let somebody ask on a web page, and somebody else on Telegram. Without what channels need it is not shown."""
    try:
        async with _channels(stage) as channels:
            await _on_the_web(channels)
            await _on_telegram(channels)
    except ConfigurationError as error:
        stage.say(f"not shown, a bot on web chat and on Telegram: {error}")


@asynccontextmanager
async def _channels(stage: Stage) -> AsyncIterator[_Channels]:
    async with AsyncExitStack() as stack:
        telegram = FakeTelegram()
        address = await stack.enter_async_context(telegram.serving())
        web_secret, telegram_secret = token_hex(16), token_hex(16)
        app = _with_channels(
            stage.system,
            {
                "webchat": {ACCOUNT: {"secret": web_secret}},
                "telegram": {ACCOUNT: {"token": _TOKEN, "webhook_secret": telegram_secret, "api": address}},
            },
        )
        gateway, outbound = make_gateway(app), make_outbound_worker(app)
        with _no_proxy():
            for worker in (gateway, outbound):
                await stack.enter_async_context(_at_work(worker))
        channels = _Channels(stage, telegram, f"{LOOPBACK}:{gateway.port}", web_secret, telegram_secret)
        bot = AgentBus(app.bus, scope=app.settings.session.scope)
        stack.push_async_callback(bot.close)
        bot.on_message("webchat", "telegram")(channels.answer)
        await bot.start()
        yield channels


def _with_channels(app: App, accounts: dict[str, dict[str, dict[str, Any]]]) -> App:
    given = app.settings.channels.model_copy(update={"channels": accounts, "gateway_port": 0})
    return replace(app, settings=app.settings.model_copy(update={"channels": given}))


@asynccontextmanager
async def _at_work(worker: Worker) -> AsyncIterator[None]:
    await worker.start()
    try:
        yield
    finally:
        await worker.close()


async def _on_the_web(channels: _Channels) -> None:
    """Speak to the gateway as a window does, in the terminal in place of a page."""
    with importing_extras("channels"):
        from websockets.asyncio.client import connect  # noqa: PLC0415 - it needs an extra

        from agentbus.workers.adapters.webchat import visitor_token  # noqa: PLC0415 - the same

    say, address = channels.stage.say, f"ws://{channels.gateway}/channels/webchat/{ACCOUNT}/socket"
    token = visitor_token(channels.web_secret, account=ACCOUNT, visitor="guest", name="Guest")
    async with patience("the bot answers on web chat"), connect(address, proxy=None) as window:
        await window.send(json.dumps({"type": "hello", "token": token}))
        await window.send(json.dumps({"type": "message", "id": "1", "text": ASKED}))
        say(f"a guest on web chat, in the terminal: {ASKED}")
        async for raw in window:
            frame: Any = json_in(raw)
            if frame["type"] == "writing" and frame["text"]:
                say(f"  the bot is writing: {frame['text'].rstrip()} ...")
            if frame["type"] == "message" and frame["message"]["from"] == "bot":
                say(f"  the bot: {frame['message']['text']}")
                return


async def _on_telegram(channels: _Channels) -> None:
    """Post an update to the gateway as Telegram does, and wait for what is sent to Telegram."""
    with importing_extras("channels"):
        from httpx import AsyncClient  # noqa: PLC0415 - it needs an extra

    person = {"id": _CHAT, "is_bot": False, "first_name": "Ines"}
    said = {"message_id": 1, "from": person, "chat": {"id": _CHAT, "type": "private"}, "text": ASKED}
    update = {"update_id": 1, "message": {**said, "date": int(datetime.now(UTC).timestamp())}}
    headers = {"x-telegram-bot-api-secret-token": channels.telegram_secret}
    async with patience("the bot answers on Telegram"), AsyncClient(trust_env=False) as platform:
        url = f"http://{channels.gateway}/channels/telegram/{ACCOUNT}"
        (await platform.post(url, json=update, headers=headers)).raise_for_status()
        channels.stage.say(f"Ines on Telegram, which is played by a fake platform, asks the same bot: {ASKED}")
        is_message = False
        while not is_message:
            text, is_message = await channels.telegram.shown.get()
            channels.stage.say(f"  Telegram shows of the bot{'' if is_message else ', as a draft'}: {text}")


@contextmanager
def _no_proxy() -> Iterator[None]:
    """Have what is made meanwhile go to this machine directly, whatever proxy the environment names."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before
