"""Notifications: over a real HTTP server, through a real SMTP server, and what becomes of those that fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message as Mail
from email.utils import format_datetime
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs
from tenacity import AsyncRetrying

from agentbus.composition.probes import serving
from agentbus.contracts.address import Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import ConfigurationError, Reject, Unroutable
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.telemetry import Action
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.worker import NOTICES_QUEUE
from agentbus.workers.notify import (
    ExpiryNotice,
    NotificationFailed,
    create_email_notification_callback,
    create_webhook_notification_callback,
    default_notification_callback,
    notifier,
    signature_of,
    trying,
)
from agentbus.workers.notify.reachable import is_public
from agentbus.workers.notify.webhook import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from agentbus.workers.reactive.batches import LINGER
from tests.expiry.test_figures import a_step
from tests.expiry.world import World, a_rule, a_world
from tests.harness.builders import a_conversation, a_moment
from tests.harness.patience import PATIENCE
from tests.services.ports import free_port

OPENSSL = "03eb1d5c30c622f41388559a149af0f74baf4b1fd416d7b680c96479d63f8656"
SECRET = "a secret of some length"  # noqa: S105 - a made-up one


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note how long would be waited, and don't."""
    waited: list[float] = []

    async def at_once(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(trying, "AsyncRetrying", partial(AsyncRetrying, sleep=at_once))
    return waited


def a_notice(step: int = 0) -> ExpiryNotice:
    session = session_id_for(a_conversation("noticed"), 1)
    return ExpiryNotice(
        notice_id=f"{session}/7",
        session_id=session,
        rule_id="silent",
        step=step,
        action=CleanupAction.NOTIFY,
        at=a_moment(0),
        next_at=a_moment(60),
        platform=Platform.WEB,
        identity=None,
    )


local = partial(create_webhook_notification_callback, allow_private=True)


class Receiver:
    """A web server that notes what it was sent and answers as it is told, in the end with 204."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[Response] = []
        self.url = ""

    async def receive(self, request: Request) -> Response:
        self.requests.append((dict(request.headers), await request.body()))
        return self.answers.pop(0) if self.answers else Response(status_code=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/hook", receiver.receive, methods=["POST"])])
    async with serving(app, 0, host="127.0.0.1") as port:
        receiver.url = f"http://127.0.0.1:{port}/hook"
        yield receiver


async def test_a_web_address_is_told_and_can_tell_that_it_is_us(receiver: Receiver) -> None:
    notify = local(receiver.url, SECRET, clock=ManualClock(a_moment(5)))
    notice = a_notice()
    await notify(notice)
    ((headers, body),) = receiver.requests
    assert json.loads(body) == notice.as_json()
    assert headers[ID_HEADER.lower()] == notice.notice_id
    timestamp = headers[TIMESTAMP_HEADER.lower()]
    assert int(timestamp) == int(a_moment(5).timestamp())
    assert headers[SIGNATURE_HEADER.lower()] == signature_of(SECRET, timestamp, body)
    assert signature_of("another secret", timestamp, body) != signature_of(SECRET, timestamp, body)
    assert signature_of(SECRET, str(int(timestamp) + 1), body) != signature_of(SECRET, timestamp, body)


async def test_a_signature_is_what_others_compute_too() -> None:
    # printf '1767268805.{}' | openssl dgst -sha256 -hmac secret
    assert signature_of("secret", "1767268805", b"{}") == f"sha256={OPENSSL}"


async def test_a_server_that_is_busy_is_told_again_when_it_asks_for_it(receiver: Receiver, waits: list[float]) -> None:
    clock = ManualClock(a_moment(0))
    receiver.answers = [
        Response(status_code=503, headers={"Retry-After": "7"}),
        Response(status_code=429, headers={"Retry-After": format_datetime(a_moment(11), usegmt=True)}),
        Response(status_code=500, headers={"Retry-After": "99999"}),
        Response(status_code=502, headers={"Retry-After": "soon"}),
    ]
    await local(receiver.url, SECRET, clock=clock)(a_notice())
    assert len(receiver.requests) == 5
    assert {headers[ID_HEADER.lower()] for headers, _ in receiver.requests} == {a_notice().notice_id}
    assert waits[:3] == [7, 11, trying.LONGEST_WAIT]
    assert 0 <= waits[3] <= trying.LONGEST_WAIT


async def test_a_server_that_stays_down_is_given_up(receiver: Receiver, waits: list[float]) -> None:
    receiver.answers = [Response(status_code=500) for _ in range(10)]
    with pytest.raises(NotificationFailed, match="500"):
        await local(receiver.url, SECRET)(a_notice())
    assert len(receiver.requests) == trying.ATTEMPTS
    with pytest.raises(NotificationFailed, match="does not answer"):
        await local("http://127.0.0.1:1/", SECRET)(a_notice())
    assert len(waits) == 2 * (trying.ATTEMPTS - 1)


async def test_a_server_that_refuses_is_not_asked_again(receiver: Receiver, waits: list[float]) -> None:
    receiver.answers = [Response(status_code=410)]
    with pytest.raises(NotificationFailed, match="410"):
        await local(receiver.url, SECRET)(a_notice())
    assert len(receiver.requests) == 1
    assert waits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_an_address_that_is_not_public_is_refused_unless_allowed(
    receiver: Receiver, waits: list[float], host: str
) -> None:
    notify = create_webhook_notification_callback(receiver.url.replace("127.0.0.1", host), SECRET)
    with pytest.raises(NotificationFailed, match="not of the public internet"):
        await notify(a_notice())
    assert (receiver.requests, waits) == ([], [])


async def test_a_name_that_leads_to_a_private_address_is_refused_whatever_else_it_leads_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(None, None, None, "", ("93.184.216.34", 443)), (None, None, None, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(NotificationFailed, match="not of the public internet"):
        await create_webhook_notification_callback("https://hook.example.org/", SECRET)(a_notice())


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse
        ("224.0.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


async def test_a_redirect_is_not_followed(receiver: Receiver, waits: list[float]) -> None:
    receiver.answers = [Response(status_code=307, headers={"Location": receiver.url})]
    with pytest.raises(NotificationFailed, match="307"):
        await local(receiver.url, SECRET)(a_notice())
    assert (len(receiver.requests), waits) == (1, [])


async def test_what_the_answer_says_is_not_read(receiver: Receiver) -> None:
    sent, ended = 0, asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        try:
            while True:
                yield b"x" * 65536
                sent += 65536
                await asyncio.sleep(0)
        finally:
            ended.set()

    receiver.answers = [StreamingResponse(endless())]
    await local(receiver.url, SECRET)(a_notice())
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    assert sent < 50_000_000


async def test_an_answer_that_drips_is_given_up(waits: list[float]) -> None:
    came, ended, changed = 0, 0, asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came, ended
        came += 1
        try:
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        ended += 1
        changed.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    notify = local(f"http://127.0.0.1:{port}/", SECRET, timeout=0.1)
    with pytest.raises(NotificationFailed, match="does not answer"):
        await notify(a_notice())
    assert len(waits) == trying.ATTEMPTS - 1
    async with asyncio.timeout(PATIENCE):
        while ended < came:
            changed.clear()
            await changed.wait()
    server.close()


@pytest.mark.parametrize(
    ("url", "secret"), [("ftp://host/", SECRET), ("hook", SECRET), ("https://", SECRET), ("https://host/", "")]
)
def test_a_web_address_that_cannot_be_is_refused(url: str, secret: str) -> None:
    with pytest.raises(ConfigurationError):
        create_webhook_notification_callback(url, secret)


class Mailbox:
    """What the mail server took, and what it says instead of taking it."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.replies: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.replies:
            return self.replies.pop(0)
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@contextmanager
def mail_server(mailbox: Mailbox) -> Iterator[int]:
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture
def smtp_port(mailbox: Mailbox) -> Iterator[int]:
    with mail_server(mailbox) as port:
        yield port


async def test_an_e_mail_says_what_happened(mailbox: Mailbox, smtp_port: int) -> None:
    notify = create_email_notification_callback("127.0.0.1", smtp_port, "bot@example.org", ["a@example.org", "b@c.org"])
    await notify(a_notice())
    await notify(a_notice(step=-1))
    step, warning = mailbox.mails
    assert step["From"] == "bot@example.org"
    assert step["To"] == "a@example.org, b@c.org"
    assert step["Subject"] == f"Session {a_notice().session_id}: notify"
    assert warning["Subject"].endswith(": warning")
    assert step["Message-ID"] == warning["Message-ID"] == f"<{a_notice().notice_id.replace('/', '.')}@agentbus.invalid>"
    text = step.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert a_notice().text in text.decode()


async def test_a_mail_server_that_is_busy_is_tried_again(mailbox: Mailbox, smtp_port: int, waits: list[float]) -> None:
    mailbox.replies = ["451 later", "452 still later"]
    await create_email_notification_callback("127.0.0.1", smtp_port, "bot@example.org", "a@example.org")(a_notice())
    assert len(mailbox.mails) == 1
    assert len(waits) == 2


async def test_a_mail_that_is_refused_or_has_no_server_is_given_up(
    mailbox: Mailbox, smtp_port: int, waits: list[float]
) -> None:
    mailbox.replies = ["554 no"]
    notify = create_email_notification_callback("127.0.0.1", smtp_port, "bot@example.org", "a@example.org")
    with pytest.raises(NotificationFailed, match="refuses"):
        await notify(a_notice())
    assert waits == []
    nobody = create_email_notification_callback("127.0.0.1", 1, "bot@example.org", "a@example.org", timeout=1)
    with pytest.raises(NotificationFailed, match="no e-mail"):
        await nobody(a_notice())
    assert len(waits) == trying.ATTEMPTS - 1
    with pytest.raises(ConfigurationError, match="recipient"):
        create_email_notification_callback("127.0.0.1", 25, "bot@example.org", [])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


async def test_who_is_slow_or_fails_delays_nothing_and_is_parked(world: World) -> None:
    told: list[ExpiryNotice] = []
    stuck = asyncio.Event()

    async def failing(notice: ExpiryNotice) -> None:
        told.append(notice)
        raise NotificationFailed("the pager is off")

    async def slow(_: ExpiryNotice) -> None:
        await stuck.wait()

    metrics = WorkerMetrics()
    callbacks = [failing, slow, default_notification_callback]
    async with world.expiring(a_rule("silent"), callbacks=callbacks, metrics=metrics):
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await world.until(lambda: _ended(world, session))
        await world.until(lambda: _called(told))
        assert told[0].session_id == session
        assert told[0].rule_id == "silent"
        assert (await world.store.parked.page()).items == ()
        stuck.set()
        await world.until(lambda: _parked(world))
        (parked,) = (await world.store.parked.page()).items
        assert (parked.code, parked.reason) == ("reject", "the pager is off")
        assert parked.queue.endswith("expiry-notices")
        assert len(told) == 1
        assert metrics.notifications.labels("failed")._value.get() == 1
        assert metrics.notifications.labels("sent")._value.get() == 2


async def test_where_nobody_is_told_there_is_no_queue_and_one_that_is_there_does_not_fill_up(world: World) -> None:
    queue = world.bus.topology.subscription_queue(NOTICES_QUEUE)
    async with world.expiring(a_rule("silent")):
        await _expire(world, "ada")
        with pytest.raises(Unroutable):
            await world.bus.depth(queue)

    told: list[ExpiryNotice] = []

    async def tell(notice: ExpiryNotice) -> None:
        told.append(notice)

    async with world.expiring(callbacks=[tell]):
        session = await _expire(world, "bob")
        await world.until(lambda: _called(told))
        assert [notice.session_id for notice in told] == [session]
    await _expire_by_hand(world, "eve")
    await world.until(lambda: _waiting(world, queue))

    async def emptied() -> bool:
        async with world.expiring():
            await asyncio.sleep(2 * LINGER)
        return not await _waiting(world, queue)  # what was taken and not acknowledged is back by now

    await world.until(emptied)
    assert len(told) == 1


async def test_each_step_is_logged_once_whoever_else_is_told(world: World) -> None:
    async with world.expiring(a_rule("silent")):
        with capture_logs() as lines:
            session = await _expire(world, "ada")
            await world.until(lambda: _called([one for one in lines if one["event"] == Action.SESSION_EXPIRING]))
    assert [one["session_id"] for one in lines if one["event"] == Action.SESSION_EXPIRING] == [session]


async def _expire(world: World, user: str) -> SessionId:
    """Have a session of a user begin and end by a rule."""
    session = await world.session(user)
    await world.scheduled(session)
    world.advance(60)
    await world.until(lambda: _ended(world, session))
    return session


async def _expire_by_hand(world: World, user: str) -> None:
    """Have a session begin and a rule's step taken, while no expiry worker is there."""
    session = await world.session(user)
    head = await world.head(session)
    step = ExpireSession(session_id=session, rule_id="silent", step=0, action=CleanupAction.EXPIRE, seen=head.sequence)
    await world.send(step)
    await world.until(lambda: _ended(world, session))


async def _waiting(world: World, queue: str) -> bool:
    return (await world.bus.depth(queue)).ready > 0


async def _ended(world: World, session: Any) -> bool:
    return not (await world.head(session)).is_live


async def _called(told: Sequence[object]) -> bool:
    return bool(told)


async def _parked(world: World) -> bool:
    return bool((await world.store.parked.page()).items)


async def test_a_callback_that_never_returns_stops_no_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "CALLBACK_SECONDS", 0.05)
    told: list[str] = []

    async def hang(_: ExpiryNotice) -> None:
        await asyncio.Event().wait()

    async def hear(notice: ExpiryNotice) -> None:
        told.append(notice.notice_id)

    heard = notifier.Notifier([hang, hear], WorkerMetrics())
    async with asyncio.timeout(PATIENCE):
        for event in map(EventEnvelope.of, (a_step(ManualClock(), number) for number in (1, 2))):
            with pytest.raises(Reject, match="TimeoutError"):
                await heard.handle(event)
    assert len(told) == 2
