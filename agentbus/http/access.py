"""Who calls, and what they may: keys, and what is open to this machine while there is none."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreError
from agentbus.contracts.operators import Operator
from agentbus.contracts.telemetry import Action
from agentbus.http.problems import NotAllowed, NotAuthenticated, NotFromHere, TooManyCalls
from agentbus.operations.api_keys import USE_SECONDS, ApiKey, Role, any_key, key_id_in, note_use, recognised
from agentbus.sessions.model.validation import is_id
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.adapters.pace import Pace
from agentbus.workers.concurrency import passing_over
from agentbus.workers.outages import sparingly

USER_HEADER: Final = "X-AgentBus-User"
"""The user on whose behalf a call is made."""

BELIEVED_SECONDS: Final = 5.0
"""Seconds for which it is believed that a key is still good: a revoked one is so for that long."""

_MOST_KEPT: Final = 1000
_NOTING: Final = 1.0
"""Seconds that noting a key's use may take."""
_STRANGERS: Final = 50.0
"""Texts that may be no key that are looked up in a second: whoever tries them out must not keep the store busy."""

_PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})
_BEARER: Final = re.compile(r"(?i:bearer) +(\S{1,8192}) *")

_log = Logger(__name__)

_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who made a call."""

    name: str
    """By which the log knows them: `key:jko2pcvg6a`, `token:ann`, `loopback`."""
    roles: frozenset[Role]
    user: str | None = None
    """On whose behalf: their access is checked. None: the application's."""
    by: Operator | None = None
    """Who has it done, as audit trails say; None: the user, or somebody on this machine."""

    def check(self, role: Role, *, for_users: bool) -> None:
        """Raise NotAllowed unless they may make a call that needs `role`, and that users may make or not."""
        if role not in self.roles:
            raise NotAllowed(f"this needs the role {role}")
        if self.user is not None and not for_users:
            raise NotAllowed(f"this is not done on behalf of a user: leave out {USER_HEADER}")


class Doorkeeper:
    """Tells who calls. One a process: it believes for some seconds what it was told by the store.

    `local` says whether nobody but this machine reaches the port; `token` tells who speaks by a token, if some are
    taken.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        local: bool,
        rate: float,
        timer: Callable[[], float] = monotonic,
        token: Callable[[str], Awaitable[Caller | None]] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._local = local
        self._rate = rate
        self._timer = timer
        self._token = token
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._paces: OrderedDict[str, Pace] = OrderedDict()
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._strangers = Pace(_STRANGERS, timer)
        self._closed = False

    async def caller_of(self, call: HTTPConnection) -> Caller:
        """Return who makes a call. Raises NotAuthenticated, NotFromHere, TooManyCalls; SchemaViolation, StoreError."""
        headers = call.headers
        if call.scope.get("method", "GET") not in _SAFE:
            _check_origin(headers)
        given = headers.get("authorization")
        if given is None:
            await self._check_open(call)
            caller = Caller(name="loopback", roles=frozenset(Role))
        else:
            try:
                caller = await self._bearer(given)
            except NotAuthenticated:
                tell_refused(call)
                raise
        self._check_pace(caller.name)
        return _on_behalf(caller, headers)

    async def still_holds(self, call: HTTPConnection) -> bool:
        """Whether who made a call that lasts might make it now: their key may be revoked. Raises StoreError."""
        given = call.headers.get("authorization")
        try:
            if given is None:
                await self._check_open(call)
            else:
                await self._bearer(given)
        except (NotAuthenticated, NotFromHere):
            return False
        except TooManyCalls:
            return True  # who it is can't be asked at the moment
        return True

    async def is_open(self) -> bool:
        """Whether calls without a key are answered, to this machine: as long as there never was one."""
        if self._local and not self._closed:
            self._closed = await any_key(self._store)
        return self._local and not self._closed

    async def _bearer(self, given: str) -> Caller:
        found = _BEARER.fullmatch(given)
        if found and self._token and _TOKEN.fullmatch(found[1]):
            if caller := await self._token(found[1]):
                return caller
            raise NotAuthenticated("this token is not good, or not any more")
        key = await self._key(found[1]) if found else None
        if key is None or not key.holds(self._clock.now()):
            raise NotAuthenticated("this is no key, or it is one no more: agentbus api-keys list")
        await self._note_use(key.key_id)
        return Caller(name=f"key:{key.key_id}", roles=frozenset(key.roles), by=Operator(key=key.key_id))

    async def _key(self, text: str) -> ApiKey | None:
        now = self._timer()
        known = self._known.get(text)
        if known and now - known[0] < BELIEVED_SECONDS:
            return known[1]
        if key_id_in(text) is None:
            return None
        if known is None and not self._strangers.allows():
            raise TooManyCalls("too many keys are tried out")
        key = await recognised(self._store, text)
        if key is None:
            self._known.pop(text, None)
            return None
        self._known[text] = (now, key)
        self._known.move_to_end(text)
        while len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return key

    async def _note_use(self, key_id: str) -> None:
        """Note that a key is used. That it can't be noted keeps nobody from what they want."""
        now = self._timer()
        if now - self._noted.get(key_id, -USE_SECONDS) < USE_SECONDS:
            return
        self._noted[key_id] = now
        self._noted.move_to_end(key_id)
        while len(self._noted) > _MOST_KEPT:
            self._noted.popitem(last=False)
        with passing_over(StoreError, TimeoutError):
            async with asyncio.timeout(_NOTING):
                await note_use(self._store, self._clock, key_id)

    async def _check_open(self, call: HTTPConnection) -> None:
        """Raise unless a call without a key comes from a program on this machine, and there is no key yet."""
        if not await self.is_open():
            raise NotAuthenticated
        passed_on = any(name in call.headers for name in _PASSED_ON)
        if passed_on or call.client is None or not is_loopback(call.client.host):
            raise NotAuthenticated
        # A web page whose name was made to lead here, by its own name server, names itself.
        if not is_loopback(_name_in(call.headers.get("host", ""))):
            raise NotFromHere("call it by its address, such as 127.0.0.1, or with a key")

    def _check_pace(self, name: str) -> None:
        pace = self._paces.get(name)
        if pace is None:
            pace = self._paces[name] = Pace(self._rate, self._timer)
            while len(self._paces) > _MOST_KEPT:
                self._paces.popitem(last=False)
        self._paces.move_to_end(name)
        if not pace.allows():
            raise TooManyCalls(f"more than {self._rate:g} calls a second")


def tell_refused(call: HTTPConnection) -> None:
    """Log that somebody was not let in, and from where: now and then, and nothing of what they tried."""
    if (more := sparingly(Action.API_REFUSED)) is not None:
        _log.warning(Action.API_REFUSED, host=call.client.host if call.client else "", **more)


def is_loopback(host: str) -> bool:
    """Whether a name or address is that by which this machine alone reaches itself."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _name_in(host: str) -> str:
    """Return the name of a `Host` header, without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _check_origin(headers: Mapping[str, str]) -> None:
    """Raise NotFromHere for a change that another web page wants."""
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise NotFromHere("a change is not made from another web page")
    origin = headers.get("origin")
    if origin is None:
        return
    try:
        from_here = urlsplit(origin).netloc == headers.get("host")
    except ValueError:
        from_here = False
    if not from_here:
        raise NotFromHere("a change is not made from another web page")


def _on_behalf(caller: Caller, headers: Mapping[str, str]) -> Caller:
    user = headers.get(USER_HEADER)
    if user is None:
        return caller
    named = _as_utf8(user)
    if not is_id(named):
        raise NotAllowed(f"{USER_HEADER} is no user: 1 to {MAX_ID_LENGTH} characters, in UTF-8")
    if caller.user is not None and caller.user != named:
        raise NotAllowed("the token speaks for another user")
    return replace(caller, user=named)


def _as_utf8(header: str) -> str:
    """Return a header's value, which servers read as Latin-1, as the UTF-8 that it is; empty for what is not."""
    try:
        return header.encode("latin-1").decode()
    except ValueError:
        return ""
