"""The dashboard, put together: each page behind one door, which knows who comes, and what they may."""

import asyncio
import hashlib
import hmac
from dataclasses import replace
from functools import partial
from itertools import groupby
from secrets import token_urlsafe
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from agentbus.composition.app import App
from agentbus.contracts.errors import AgentBusError, BusError, SchemaViolation, StoreError, TooLarge
from agentbus.contracts.operators import Operator
from agentbus.contracts.telemetry import Action
from agentbus.contracts.urls import masked_in
from agentbus.http.dashboard import static
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.glances import Glances
from agentbus.http.dashboard.pulse import Pulse
from agentbus.http.dashboard.screens import PAGES, signing_in
from agentbus.http.dashboard.visit import MOST_BYTES, Form, Place, Visit
from agentbus.http.problems import NotAllowed, NotFromHere, NotThere, status_of
from agentbus.operations.api_keys import ApiKey, Role, without_keys
from agentbus.operations.jobs import Jobs
from agentbus.operations.sign_ins import signed_in
from agentbus.storage.log_lines import Logger
from agentbus.workers.adapters.pace import Pace
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.faults import told

COOKIE: Final = signing_in.COOKIE
PAGE_SECONDS: Final = 10.0
"""Seconds that a page may take; then it says what it waited for."""

ACT_SECONDS: Final = 60.0
"""Seconds that an action may take: what it has done by then is done."""

_STRANGERS: Final = 50.0
"""Keys a second that are tried out, of everybody together. Nobody guesses one; the store must not be kept busy."""

_STRANGERS_BYTES: Final = 8192
"""Bytes of a form of somebody who has not signed in: a key, and where they were going."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_KEPT: Final = {"Cache-Control": "no-store"}

_log = Logger(__name__)


class Dashboard:
    """The pages over an AgentBus, and its jobs, that somebody else opened: an ASGI application."""

    def __init__(self, app: App, jobs: Jobs) -> None:
        self._app = app
        self._jobs = jobs
        self.pulse = Pulse(app.bus)
        self.ending = asyncio.Event()
        """Set once the server is about to end: what is live ends then."""
        self._strangers = Pace(_STRANGERS)
        self._glances = Glances()
        routes: list[BaseRoute] = [
            Route(page.path, partial(self._answer, page), methods=[page.method]) for page in PAGES
        ]
        self._pages = Starlette(routes=[*routes, Route("/static/{name}", static.file)])
        self._pages.add_exception_handler(404, self._nothing)
        self._pages.add_exception_handler(405, self._nothing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; each answer has the headers that keep a page to itself."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                more = [(name.lower().encode(), value.encode()) for name, value in (HEADERS | _KEPT).items()]
                message["headers"] = [*message["headers"], *(one for one in more if one[0] not in named)]
            await send(message)

        await self._pages(scope, receive, guarded)

    def open(self) -> None:
        """Take requests."""
        self.ending.clear()

    def drain(self) -> None:
        """Have what is live end."""
        self.ending.set()
        self.pulse.wake()

    async def close(self) -> None:
        """End what is live, and let go of the broker. Idempotent."""
        self.drain()
        await self.pulse.close()

    async def _answer(self, page: Page, request: Request) -> Response:
        token = request.cookies.get(COOKIE) or ""
        new = "" if token else token_urlsafe(32)
        visit = self._visit(request, csrf=csrf_of(token or new))
        seconds = PAGE_SECONDS if page.method == "GET" else ACT_SECONDS
        try:
            async with asyncio.timeout(seconds):
                visit = await self._known(visit, page, token)
                if page.role is not None:
                    _check(visit, page.role)
                answer = await page.answer(visit)
        except TimeoutError:
            answer = _failed(visit, 504, "It took too long", f"Nothing came of it within {seconds:g} seconds.")
        except _SignInFirst:
            raise_if_cancelled()
            answer = signing_in.ask(request)
        except AgentBusError as error:
            raise_if_cancelled()
            answer = _refused(visit, error)
        except ClientDisconnect:
            answer = Response(status_code=400)
        except Exception as error:
            raise_if_cancelled()
            _log.error(Action.API_FAILED, **told(error))
            answer = _failed(visit, 500, "Something is wrong here", "The log of this server says what.")
        if page.method == "POST" and visit.key:
            about = {name: without_keys(str(value)) for name, value in request.path_params.items()}
            by = f"key:{visit.key.key_id}"
            _log.info(Action.API_CHANGED, call=f"POST {page.path}", by=by, about=about, status=answer.status_code)
        if new and not any(one.startswith(f"{COOKIE}=") for one in answer.headers.getlist("set-cookie")):
            signing_in.give(answer, request, new)
        return answer

    async def _known(self, visit: Visit, page: Page, token: str) -> Visit:
        """Return a visit with who it is and what they brought. Raises what keeps them from the page."""
        form = Form()
        if page.method == "POST":
            _check_origin(visit.request)
        key = await signed_in(self._app.store, self._app.clock, token) if token else None
        if page.method == "POST":
            form = Form(await _body(visit.request, MOST_BYTES if key else _STRANGERS_BYTES))
            if not hmac.compare_digest(form.get("csrf").encode(), visit.csrf.encode()):
                raise NotFromHere("The page was too old. Go back, load it anew, and try again.")
        return self._visit(visit.request, csrf=visit.csrf, key=key, form=form)

    def _visit(self, request: Request, *, csrf: str, key: ApiKey | None = None, form: Form | None = None) -> Visit:
        return Visit(
            request=request,
            app=replace(self._app, by=Operator(key=key.key_id)) if key else self._app,
            pulse=self.pulse,
            ending=self.ending,
            strangers=self._strangers,
            glances=self._glances,
            jobs=self._jobs,
            menu=_menu(key),
            key=key,
            csrf=csrf,
            form=form or Form(),
        )

    async def _nothing(self, request: Request, _: Exception) -> Response:
        return await self._answer(_NOTHING, request)


def _menu(key: ApiKey | None) -> list[tuple[str, list[Place]]]:
    """Return the pages that stand in the menu for somebody, by group."""
    roles = key.roles if key else ()
    places = [page.place for page in PAGES if page.place and page.role in roles]
    return [(group, list(own)) for group, own in groupby(places, lambda one: one.group)]


class _SignInFirst(Exception):
    """Nobody is signed in: it is the way to the form that is answered."""


async def _not_there(_: Visit) -> Response:
    raise NotThere


_NOTHING: Final = Page("GET", "", _not_there, role=None)


def _check(visit: Visit, role: Role) -> None:
    """Raise unless it is somebody who may see a page, or do what it does."""
    if visit.key is None:
        raise _SignInFirst
    if not visit.may(role):
        raise NotAllowed(f"Your key has not the role {role}, which this needs.")


def csrf_of(token: str) -> str:
    """Return what forms bring back: it is known to whoever was given the page, and does not tell the token."""
    return hmac.new(token.encode(), b"a form of the dashboard", hashlib.sha256).hexdigest()


def _refused(visit: Visit, error: AgentBusError) -> Response:
    status, why = status_of(error), masked_in(str(error))
    if isinstance(error, StoreError):
        return _failed(visit, status, "The store does not answer as it should", why)
    if isinstance(error, BusError):
        return _failed(visit, status, "The broker does not answer as it should", why)
    title = "There is nothing here" if status == 404 else "That is not possible"
    return _failed(visit, status, title, why)


def _failed(visit: Visit, status: int, title: str, why: str) -> Response:
    return visit.page("failed.html", title=title, why=why, status=status)


def _check_origin(request: Request) -> None:
    """Raise NotFromHere unless it is a page of ours that sends this. Browsers say so, by one header or the other."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        try:
            ours = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
        except ValueError:
            ours = False
    if not ours:
        raise NotFromHere("This is only done from a page of the dashboard itself.")


async def _body(request: Request, most: int) -> bytes:
    """Return what a form sent. Raises TooLarge, SchemaViolation."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise SchemaViolation("this is no form")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"a form has {most} bytes at most")
    return bytes(body)
