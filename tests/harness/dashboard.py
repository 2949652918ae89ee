"""A dashboard over an AgentBus in memory, with nothing or a bit of everything in it, and somebody signed in."""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from agentbus.client import AgentBus
from agentbus.composition.app import App, need_backups
from agentbus.composition.running import embedded
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import CloseSession, MergeContext, ReportReply, SetData, SetMetadata, ShareSession
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    CommandContent,
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.profile import Permission
from agentbus.contracts.replies import ReplyId, ReplyOutcome
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import ConflictStrategy, Entry
from agentbus.http.dashboard.app import Dashboard
from agentbus.http.dashboard.screens import PAGES
from agentbus.http.dashboard.screens.one_session import VIEWS
from agentbus.operations.api_keys import Role, create_key
from agentbus.operations.expiry import add_rules
from agentbus.operations.identity import link_sessions
from agentbus.operations.jobs import Jobs
from agentbus.settings import load_settings
from agentbus.testing.clock import later
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.backup import Wanted, back_up
from agentbus.workers.concurrency import in_turn
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.tracking.catch_up import Tracker
from tests.harness.builders import a_parked

HERE: Final = "http://127.0.0.1"
FROM_HERE: Final = {"sec-fetch-site": "same-origin"}

HOSTILE: Final = "<img src=x onerror=alert(1)>\"'{{7*7}}\u202egnp.exe\u2066\x07\u200b"
"""Markup, a template, and what turns or hides the text around it."""

_OTHERS: Final = 12
"""Sessions with one message each."""

PERSON: Final = "ann"

BELIEVED: Final = "<b>Ann</b>\u202e"


@dataclass
class Desk:
    """Somebody at the dashboard, and what is behind it."""

    app: App
    dashboard: Dashboard
    browser: httpx.AsyncClient
    key: str

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Load a page."""
        return await self.browser.get(path, headers=headers)

    async def csrf(self) -> str:
        """Return what forms bring back."""
        page = await self.get("/sign-in")
        if page.status_code == 303:
            page = await self.get("/")
        return csrf_in(page.text)

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form, as a page of the dashboard does."""
        return await self.browser.post(path, data={"csrf": await self.csrf()} | fields, headers=FROM_HERE)

    async def said_after(self, answer: httpx.Response) -> str:
        """Return what the page says that an action leads to."""
        assert answer.status_code == 303, answer.text
        page = await self.get(answer.headers["location"])
        [said] = re.findall(r'<p class="notice(?: bad)?" role="status">(.*?)</p>', page.text)
        return str(said)


def csrf_in(page: str) -> str:
    """Return what the forms of a page bring back."""
    return str(re.findall(r'name="csrf" value="([0-9a-f]{64})"', page)[0])


@asynccontextmanager
async def a_desk(
    roles: Collection[Role] = tuple(Role), app: App | None = None, *, name: str = BELIEVED, **settings: Any
) -> AsyncIterator[Desk]:
    """Give a dashboard with nothing in it, over an app in memory or a given one; somebody with `roles` is signed in.

    An app in memory has a place for backups, unless the settings name another, or None.
    """
    if app is None:
        with TemporaryDirectory() as folder:
            usual = {
                "amqp_url": "memory://",
                "store_url": "memory://",
                "partitions": 4,
                "backup_url": f"file://{folder}",
            }
            async with embedded(load_settings(**(usual | settings))) as made, a_desk(roles, made, name=name) as desk:
                yield desk
        return
    _, key = await create_key(app.store, app.clock, name, roles)
    jobs = Jobs(app.store, app.clock, WorkerKind.BACKUP.group(app.bus.topology.prefix), beat=0.02)
    dashboard = Dashboard(app, jobs)
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(dashboard), base_url=HERE) as browser:
            desk = Desk(app, dashboard, browser, key)
            if Role.READ in roles:
                assert (await desk.post("/sign-in", key=key)).status_code == 303
            yield desk
    finally:
        await in_turn(jobs.close, dashboard.close)


@dataclass
class Filled:
    """What was put there."""

    session: SessionId
    bad: ParkedInput
    """It is no JSON."""
    mendable: ParkedInput
    """A message without a chat."""
    other: SessionId
    """It is the same person's as `session`, and they disagree about /data/language."""
    unknown: ReplyId
    """Nobody knows whether it was sent."""
    archived: SessionId
    """If the settings name an archive."""


async def fill(app: App, *, harm: str = HOSTILE, name: str = BELIEVED) -> Filled:
    """Put a bit of everything there; people say `harm`, and are called `name`."""
    client, at = AgentBus(app.bus), app.clock.now()
    session = await _talked(client, at, harm, name)
    for number in range(_OTHERS):
        platform = (Platform.SLACK, Platform.DISCORD, Platform.WHATSAPP)[number % 3]
        address = Address(platform=platform, chat=f"room-{number}", user=f"U{number:04}")
        said = TextContent(text=f"Hello, {number}")
        await client.publish(_message(address, f"first-{number}", at - timedelta(minutes=number), said, name))
    bad, mendable = await _parked(app, at, harm)
    while (await app.store.heads.statistics(SessionFilter())).total <= _OTHERS:
        await later()
    others = (await app.store.heads.page(SessionFilter(platform=Platform.SLACK))).items
    await _disagreed(app, client, session, others[0], harm)
    unknown = await _in_doubt(app, client, others[1])
    await add_rules(app.store, [_rule("quiet", name, idle_for=30 * 86_400.0), _rule("long", max_messages=5)])
    await Tracker(app.store).catch_up(
        [one.conversation_id for one in (await app.store.heads.page(SessionFilter())).items]
    )
    await _kept(app, client, others[2])
    await client.close()
    return Filled(
        session=session, bad=bad, mendable=mendable, other=others[0].session_id, unknown=unknown,
        archived=others[2].session_id,
    )  # fmt: skip


async def _disagreed(app: App, client: AgentBus, session: SessionId, other: SessionState, harm: str) -> None:
    await link_sessions(app, PERSON, [session, other.session_id], "Ann")
    stamp = next_stamp(None, app.clock.now(), Platform.SLACK, other.conversation_id)
    entry = Entry(field="/data/language", value=harm, stamp=stamp)
    merge = MergeContext(
        session_id=session,
        identity=PERSON,
        source=other.session_id,
        strategy=ConflictStrategy.MANUAL,
        entries=(entry,),
    )
    await client.send(merge)


async def _in_doubt(app: App, client: AgentBus, session: SessionState) -> ReplyId:
    assert session.address
    await client.say(session.address, "Your parcel is here.")
    [reply] = (await client.session(session.session_id)).replies
    told = ReportReply(
        session_id=session.session_id,
        reply=reply.reply_id,
        outcome=ReplyOutcome.UNKNOWN,
        reason="the connection was lost",
    )
    await client.send(told)
    await Outbox(app.store, app.bus.topology, app.clock).ask_somebody(reply, "the connection was lost")
    return reply.reply_id


async def _kept(app: App, client: AgentBus, session: SessionState) -> None:
    """Put a session into the archive, and make a backup, where there is a place for them."""
    if app.archive:
        await client.send(CloseSession(session_id=session.session_id))
        session = await client.session(session.session_id)
        await archive_session(app.store, app.archive, app.commands, session)
    if app.settings.backup.backup_url:
        place = need_backups(app.settings, app.store)
        wanted = Wanted(description="before the holidays")
        async for _ in back_up(app.store, place, wanted, source="memory", clock=app.clock):
            pass


def _rule(rule_id: str, name: str | None = None, **conditions: Any) -> ExpiryRule:
    strategy = ExpiryStrategy.ACTIVITY if "idle_for" in conditions else ExpiryStrategy.USAGE
    steps = (Step(action=CleanupAction.NOTIFY), Step(action=CleanupAction.ARCHIVE, after=86_400.0))
    return ExpiryRule(
        rule_id=rule_id,
        name=name or rule_id,
        strategy=strategy,
        conditions=Conditions(**conditions),
        actions=steps,
        enabled=rule_id != "off",
    )


async def _talked(client: AgentBus, at: datetime, harm: str, person: str) -> SessionId:
    address = Address(platform=Platform.TELEGRAM, chat="shop", user="ann")
    said: list[tuple[str, Content]] = [
        ("1", CommandContent(name="start", arguments="from the shop")),
        ("2", TextContent(text="Hello! Where is my order 4711?")),
        ("3", TextContent(text=harm)),
        ("4", TextContent(text="It was a gift, and the party is on Saturday. " * 8)),
        ("5", TextContent(text="שלום, إلى أين؟ that was not for you")),
        (
            "6",
            TextContent(
                attachments=(
                    Attachment(kind=AttachmentKind.IMAGE, uri="javascript:alert(1)", name="box.png", size=183_221),
                )
            ),
        ),
        ("7", UnsupportedContent(what="poll", raw='{"question": "<script>alert(1)</script>"}')),
    ]
    start = at - timedelta(minutes=30)
    for number, (name, content) in enumerate(said):
        receipt = await client.publish(_message(address, name, start + timedelta(seconds=number), content, person))
    session = session_id_for(receipt.conversation_id, 1)
    await client.say(address, "It left yesterday, and comes **tomorrow**.")
    for name, about in (
        ("8", EditContent(target="2", text="Hello! Where is my order 4712?")),
        ("9", DeleteContent(target="5")),
        ("10", ReactionContent(target="2", reaction="♥")),
    ):
        await client.publish(_message(address, name, start + timedelta(minutes=2), about, person))
    order = {"number": 4712, "state": "sent", "note": harm}
    await client.send(SetData(session_id=session, values={"order": order, "language": "en"}))
    await client.send(SetMetadata(session_id=session, values={"campaign": "spring"}))
    await client.send(ShareSession(session_id=session, user=person, permission=Permission.READ))
    state = await client.session(session)
    await client.send(
        ReportReply(
            session_id=session, reply=state.replies[-1].reply_id, outcome=ReplyOutcome.SENT, message_ids=("77",)
        )
    )
    await client.say(address, "Is there anything else?")
    return session


async def _parked(app: App, at: datetime, harm: str) -> tuple[ParkedInput, ParkedInput]:
    since = at - timedelta(hours=2)
    bad = a_parked("bad", reason=harm).model_copy(update={"parked_at": since, "size": 6})
    body = (
        b'{"specversion":"1.0","id":"m-1","source":"/shop","type":"agentbus.input.v1","data":{"kind":"message",'
        b'"address":{"platform":"telegram","user":"bob"},"message_id":"m-1","sent_at":"2026-01-01T00:00:00Z",'
        b'"content":{"kind":"text","text":"mend me <b>"}}}'
    )
    mendable = a_parked("m-1", reason="data.address.chat: Field required", body=body).model_copy(
        update={"parked_at": since + timedelta(seconds=1), "code": "schema_violation", "size": len(body)}
    )
    for one in (bad, mendable):
        await app.store.parked.put(one)
    return bad, mendable


def _message(address: Address, name: str, at: datetime, content: Content, person: str) -> InboundMessage:
    return InboundMessage(address=address, message_id=name, sent_at=at, sender_name=person, content=content)


def looked_at(filled: Filled) -> list[str]:
    """Return the path of every page, and of each of its views."""
    named = {
        "{session}": filled.session,
        "{parked}": filled.mendable.parked_id,
        "{partition}": "0",
        "{backup}": "latest",
    }
    found = []
    for page in PAGES:
        if page.method != "GET" or page.path == "/live":
            continue
        path = page.path
        for name, value in named.items():
            path = path.replace(name, value)
        assert "{" not in path, f"{page.path}: which one is looked at?"
        found.append(path)
    session = f"/sessions/{filled.session}"
    return [
        *found,
        *(f"{session}?show={view}" for view in VIEWS),
        f"{session}?version=2",
        f"/parked/{filled.bad.parked_id}",
        "/parked?status=discarded",
        "/parked?code=undecodable",
        "/sessions?q=ann",
        "/sessions?status=active&user=ann",
        "/sessions?user=nobody",
        f"/identities?key={PERSON}",
        "/identities?key=nobody",
        "/expiry?due=now",
        "/statistics?days=1",
    ]
