"""What a gateway serves for web chats: the window's script, a page with nothing but it, and what the window asks for.

| path below `/channels/webchat` | what |
|---|---|
| `GET /{account}` | the page |
| `GET /{account}/widget.js` | the script, for other people's pages |
| `POST /{account}` | a message, with the token as bearer's |
| `POST /{account}/visitor` | a token, for those who have none |
| `/{account}/socket` | a WebSocket: messages, and all that is new |
| `GET /{account}/events` | server-sent events: all that is new |
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.requests import Request as Http
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from agentbus.workers.adapters.port import Hosted, Hosting, Unverified
from agentbus.workers.adapters.webchat.account import WebChatAccount
from agentbus.workers.adapters.webchat.connections import LATER, Connections
from agentbus.workers.adapters.webchat.feed import Place
from agentbus.workers.adapters.webchat.inbound import AUTHORIZATION, BEARER
from agentbus.workers.adapters.webchat.tokens import Visitor, anonymous_token, visitor_of
from agentbus.workers.adapters.webchat.visits import Limits, Visits

_WORDS: Final[Mapping[int, str]] = {
    401: "unverified",
    403: "forbidden",
    404: "unknown",
    429: "too_many",
    503: "unavailable",
}
_STATIC: Final = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
_ASKED: Final = "authorization, content-type, last-event-id"
_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"></head>'
    '<body><script src="{account}/widget.js" data-page data-title="{title}"></script></body></html>\n'
)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'{origins}"
)


class WebChat(Hosted):
    """The web chats of these accounts, on one gateway."""

    def __init__(
        self, accounts: Mapping[str, WebChatAccount], hosting: Hosting, *, limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        self._accounts = accounts
        self._hosting = hosting
        self._visits = Visits(limits)
        self._connections = Connections(hosting, limits, self._visits, self._known)
        self._script = files(__package__).joinpath("page", "widget.js").read_bytes()
        self._version = f'"{sha256(self._script).hexdigest()[:32]}"'

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/{account}", self._page, methods=["GET"]),
            Route("/{account}", self._post, methods=["POST", "OPTIONS"]),
            Route("/{account}/widget.js", self._widget, methods=["GET"]),
            Route("/{account}/visitor", self._visitor, methods=["POST", "OPTIONS"]),
            Route("/{account}/events", self._events, methods=["GET", "OPTIONS"]),
            WebSocketRoute("/{account}/socket", self._socket),
        )

    @property
    def connected(self) -> int:
        return len(self._visits)

    def open(self) -> None:
        self._connections.open()

    async def drain(self) -> None:
        await self._connections.drain()

    # What stands still

    async def _page(self, http: Http) -> Response:
        account = self._accounts.get(name := http.path_params["account"])
        if account is None:
            return _refused(404)
        policy = _POLICY.format(origins="".join(f" {one}" for one in account.origins))
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", **_STATIC}
        body = _PAGE.format(title=escape(account.title), account=escape(name))
        return Response(body, media_type="text/html", headers=headers)

    async def _widget(self, http: Http) -> Response:
        if http.path_params["account"] not in self._accounts:
            return _refused(404)
        headers = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin", **_STATIC}
        headers["ETag"] = self._version
        if http.headers.get("if-none-match") == self._version:
            return Response(status_code=304, headers=headers)
        return Response(self._script, media_type="text/javascript", headers=headers)

    # Who it is, and what they write

    async def _visitor(self, http: Http) -> Response:
        """Give a token to somebody who has none, or renew one that a gateway gave."""
        account, refusal = self._asked(http)
        if account is None:
            return refusal
        name, shared = http.path_params["account"], _shared(http)
        if not account.anonymous:
            return _refused(403, shared)
        before = self._known(name, _bearer(http))
        if before is None and not self._visits.may_come(name):
            return _refused(429, shared)
        who = before.visitor if before and before.anonymous else None
        token = anonymous_token(account.secret, account=name, now=self._hosting.clock.now(), visitor=who)
        return JSONResponse({"token": token}, headers={**shared, "Cache-Control": "no-store"})

    async def _post(self, http: Http) -> Response:
        """Take a message, as gateways take what platforms post."""
        account, refusal = self._asked(http)
        if account is None:
            return refusal
        name, shared = http.path_params["account"], _shared(http)
        visitor = self._known(name, _bearer(http))
        if visitor and not self._visits.may_write(visitor):
            return _refused(429, shared)
        response = await self._hosting.receive(http, name)
        response.headers.update(shared)
        return response

    # What is new

    async def _events(self, http: Http) -> ASGIApp:
        account, refusal = self._asked(http)
        if account is None:
            return refusal
        name, shared = http.path_params["account"], _shared(http)
        if self._connections.closing:
            return _refused(503, shared)
        visitor = self._known(name, _bearer(http) or http.query_params.get("token", ""))
        if visitor is None:
            return _refused(401, shared)
        place = Place.read(http.headers.get("last-event-id") or http.query_params.get("place", ""))
        return self._connections.stream(visitor, place, shared)

    async def _socket(self, socket: WebSocket) -> None:
        account = self._accounts.get(name := socket.path_params["account"])
        if account is None or self._connections.closing or not _is_welcome(socket, account):
            await socket.close()
            return
        await self._connections.socket(socket, name)

    # Who asks

    def _asked(self, http: Http) -> tuple[WebChatAccount | None, Response]:
        """Return the account that is meant; without it what is answered: a refusal, or what browsers ask before."""
        account = self._accounts.get(http.path_params["account"])
        if account is None:
            return None, _refused(404)
        if not _is_welcome(http, account):
            return None, _refused(403)
        if http.method == "OPTIONS":
            allowed = {"Access-Control-Allow-Headers": _ASKED, "Access-Control-Max-Age": "600"}
            return None, Response(status_code=204, headers={**_shared(http), **allowed})
        return account, _refused(404)

    def _known(self, name: str, token: str) -> Visitor | None:
        """Return whose token it is; None if it is nobody's."""
        try:
            return visitor_of(token, self._accounts[name].secret, account=name, now=self._hosting.clock.now())
        except Unverified:
            return None


def _is_welcome(asking: HTTPConnection, account: WebChatAccount) -> bool:
    """Whether a request comes from a page that may embed the chat, from the gateway's own, or from no page at all.

    What proves who somebody is is their token, which no page has but that on which they are. This keeps other sites
    from putting the chat on their pages.
    """
    origin = asking.headers.get("origin")
    if origin is None or origin.lower() in account.origins:
        return True
    try:
        return urlsplit(origin.lower()).netloc == asking.headers.get("host", "").lower()
    except ValueError:
        return False


def _shared(http: Http) -> dict[str, str]:
    """Return the headers by which a page of another origin may read the answer: it is one that may."""
    origin = http.headers.get("origin")
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}


def _bearer(http: Http) -> str:
    return http.headers.get(AUTHORIZATION, "").removeprefix(BEARER)


def _refused(status: int, headers: Mapping[str, str] | None = None) -> Response:
    later = {"Retry-After": "5"} if status in LATER else {}
    return Response(_WORDS[status], status, {**(headers or {}), **later})
