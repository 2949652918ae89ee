"""The client of the HTTP API.

```python
from agentbus.contracts.address import Address
from agentbus.http import Client

async with Client("https://chat.example.org", key="ab_...") as api:
    where = Address(platform="web", chat="lobby", user="ada")
    published = await api.publish(where, "Hello!")
    async for message in api.messages(published.session_id):
        print(message.message.content)
```
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import BaseModel, JsonValue, ValidationError

from agentbus.contracts.address import Address
from agentbus.contracts.documents import json_in
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import AgentBusError, UnsupportedType
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.jobs import JobState
from agentbus.contracts.members import HANDED_SECONDS, HandBack
from agentbus.contracts.messages import Content, TextContent
from agentbus.http.problems import ServerFault
from agentbus.http.shown import (
    JobShown,
    Listed,
    ParkedListed,
    ParkedShown,
    Published,
    Said,
    SessionListed,
    SessionShown,
    Workers,
    WorkerShown,
)
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.patience import Patience

HERE: Final = "http://127.0.0.1:8090"

_LATER: Final = frozenset({429, 503, 504})
_ON_A_PAGE: Final = 200
_LOOK_AGAIN: Final = 1.0
_SILENT: Final = 60.0
"""Seconds without any byte after which a stream is dead: signs of life come every 20."""
_BACK_IN: Final = 2.0
"""Seconds after which a stream that ended is opened again, at most: not all come back together."""

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


class ServerUnavailable(AgentBusError):
    """The server of the HTTP API does not answer."""


class Followed(NamedTuple):
    """An event that was followed."""

    event: EventEnvelope
    place: str
    """Where to go on from after it: what `events` takes as `after`."""


class _Later(Exception):
    """What may pass by itself, and the error that it is."""

    def __init__(self, error: AgentBusError) -> None:
        super().__init__(str(error))
        self.error = error


class Client:
    """Calls the API at `url` with a key, on behalf of `user` if one is given.

    A call that the server can't answer just now (it is away, or store or broker are; too many calls) is made again for
    up to `patience` seconds; changes carry an `Idempotency-Key`, so that they are made once. `timeout`, in seconds, is
    that of one try. Errors are those of the error tree, by their code (SessionNotFound, AccessDenied, ...), one of a
    later release is a plain AgentBusError; ServerUnavailable if there is no answer. `transport` is for tests.
    """

    def __init__(
        self,
        url: str = HERE,
        *,
        key: str | None = None,
        user: str | None = None,
        timeout: float = 30.0,
        patience: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        sent = {name.encode(): value.encode() for name, value in headers.items()}
        if user is not None:
            sent[b"X-AgentBus-User"] = user.encode()
        self._http = httpx.AsyncClient(base_url=url, headers=sent, timeout=timeout, transport=transport)
        self._timeout = timeout
        self._patience = Patience(transient=(_Later,), seconds=patience, longest_wait=2.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def publish(
        self,
        address: Address,
        content: Content | str,
        *,
        message_id: str | None = None,
        sent_at: datetime | None = None,
        sender_name: str | None = None,
        key: str | None = None,
        wait: float = 10.0,
    ) -> Published:
        """Publish a chat message, a text or another content, and await its commit for up to `wait` seconds (25).

        The same `message_id`, or `key`, again changes nothing. Raises RequestReused for another message under it.
        """
        said = TextContent(text=content) if isinstance(content, str) else content
        body = {
            "address": address.model_dump(mode="json"),
            "content": said.model_dump(mode="json"),
            "message_id": message_id,
            "sent_at": sent_at.isoformat() if sent_at else None,
            "sender_name": sender_name,
        }
        # A message that has an id of its platform's is known by that, whoever publishes it.
        known_by = key if key or message_id else uuid4().hex
        return await self._call(Published, "POST", "/v1/messages", body, params={"wait": wait}, key=known_by)

    async def sessions(self, *, limit: int | None = None, **where: Any) -> AsyncIterator[SessionListed]:
        """Yield sessions, the latest activity first, `limit` at most.

        `where` are the filters of the list: `platform`, `chat`, `user`, `owner`, `agent`, `tag`, `status`, `identity`,
        `conflicts`; with `not_` before it, what they must not have: `not_status="closed"`, or several in a list.
        """
        filters = {f"{name[4:]}!" if name.startswith("not_") else name: value for name, value in where.items()}
        async for one in self._pages(Listed[SessionListed], "/v1/sessions", filters, limit):
            yield one

    async def session(self, session_id: str) -> SessionShown:
        """Return a session with what is kept in it. Raises SessionNotFound; AccessDenied on behalf of a user."""
        return await self._call(SessionShown, "GET", f"/v1/sessions/{_in_path(session_id)}")

    async def messages(self, session_id: str, *, limit: int | None = None) -> AsyncIterator[HistoryMessage]:
        """Yield a session's messages as they read now, the latest first, `limit` at most. Raises as `session` does."""
        path = f"/v1/sessions/{_in_path(session_id)}/messages"
        async for one in self._pages(Listed[HistoryMessage], path, {}, limit, newest_last=True):
            yield one

    async def create_session(self, *, key: str | None = None, **fields: JsonValue) -> SessionShown:
        """Create a session: `chat_id`, `user_id`, `platform`, `tags`, `data`, ... as the document names them."""
        return await self._call(SessionShown, "POST", "/v1/sessions", fields, key=key or uuid4().hex)

    async def change_session(
        self,
        session: SessionShown | str,
        *,
        data: Mapping[str, JsonValue] | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        key: str | None = None,
        **fields: JsonValue,
    ) -> SessionShown:
        """Set keys of data and metadata, and other fields (`add_tags`, `ai_model`, ...): all of it, or nothing.

        Given a session as it was read, only if it is as it was read: PreconditionFailed if not.
        """
        body: dict[str, Any] = dict(fields)
        body |= {name: {"set": dict(one)} for name, one in (("data", data), ("metadata", metadata)) if one is not None}
        named, seen = (session, None) if isinstance(session, str) else (session.session_id, session.version)
        headers = {} if seen is None else {"If-Match": f'"{seen}"'}
        path = f"/v1/sessions/{_in_path(named)}"
        return await self._call(SessionShown, "PATCH", path, body, headers=headers, key=key or uuid4().hex)

    async def say(self, session_id: str, text: str, *, to: Address | None = None, key: str | None = None) -> Said:
        """Say something in a session as its bot, once for a `key`; it is sent to where the last message came from."""
        body = {"text": text, "to": to.model_dump(mode="json") if to else None}
        path = f"/v1/sessions/{_in_path(session_id)}/replies"
        return await self._call(Said, "POST", path, body, key=key or uuid4().hex)

    async def close_session(self, session_id: str, *, reason: str | None = None) -> SessionShown:
        """End a session; it stays readable."""
        path = f"/v1/sessions/{_in_path(session_id)}/close"
        return await self._call(SessionShown, "POST", path, {"reason": reason}, key=uuid4().hex)

    async def delete_session(self, session_id: str, *, children: str = "refuse") -> None:
        """Delete a session: it is no longer found, shown or listed."""
        path = f"/v1/sessions/{_in_path(session_id)}"
        await self._send("DELETE", path, params={"children": children}, key=uuid4().hex)

    async def parked(self, *, status: str = "parked", limit: int | None = None) -> AsyncIterator[ParkedListed]:
        """Yield parked inputs, the latest first, `limit` at most: parked, replayed, discarded or any."""
        async for one in self._pages(Listed[ParkedListed], "/v1/parked", {"status": status}, limit):
            yield one

    async def parked_input(self, parked_id: str) -> ParkedShown:
        """Return a parked input with its original bytes, in Base64."""
        return await self._call(ParkedShown, "GET", f"/v1/parked/{_in_path(parked_id)}")

    async def replay(self, parked_id: str) -> None:
        """Publish a parked input again."""
        await self._send("POST", f"/v1/parked/{_in_path(parked_id)}/replay")

    async def discard(self, parked_id: str) -> None:
        """Say that a parked input is not needed."""
        await self._send("POST", f"/v1/parked/{_in_path(parked_id)}/discard")

    async def append(
        self, session_id: str, role: str, text: str, *, message_id: str | None = None, key: str | None = None
    ) -> None:
        """Append a message that was said elsewhere, or to nobody (a model's, a tool's), once for a `message_id`."""
        body = {"role": role, "text": text, "message_id": message_id}
        path = f"/v1/sessions/{_in_path(session_id)}/messages"
        await self._send("POST", path, body, key=key or message_id or uuid4().hex)

    async def start_backup(self, *, key: str | None = None, **fields: JsonValue) -> JobShown:
        """Start a backup: `incremental`, `description`, `tags`, `format`. It goes on whoever goes: see `finished`."""
        return await self._call(JobShown, "POST", "/v1/backups", fields, key=key or uuid4().hex)

    async def start_restore(self, backup_id: str, *, key: str | None = None, **fields: JsonValue) -> JobShown:
        """Start to restore a backup, or `latest`: `strategy`, `preserve_metadata`, `dry_run`."""
        path = f"/v1/backups/{_in_path(backup_id)}/restore"
        return await self._call(JobShown, "POST", path, fields, key=key or uuid4().hex)

    async def job(self, job_id: str) -> JobShown:
        """Return how far a job is, and once it is over what it came to. Raises JobNotFound."""
        return await self._call(JobShown, "GET", f"/v1/jobs/{_in_path(job_id)}")

    async def finished(self, job: JobShown, *, within: float) -> JobShown:
        """Return a job once it is over, however it ended. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while job.state is JobState.RUNNING:
                await asyncio.sleep(_LOOK_AGAIN)
                job = await self.job(job.job_id)
        return job

    async def cancel_job(self, job_id: str) -> None:
        """Have a job cancelled: it is over soon."""
        await self._send("POST", f"/v1/jobs/{_in_path(job_id)}/cancel")

    async def workers(self) -> Sequence[WorkerShown]:
        """Return who is at work."""
        return (await self._call(Workers, "GET", "/v1/workers")).items

    async def hand_back(self, partition: int, *, to: str | None = None, seconds: float = HANDED_SECONDS) -> HandBack:
        """Have a partition go to another session worker, for so many seconds: `to`, or who stands next in line."""
        body = {"to": to, "seconds": seconds}
        return await self._call(HandBack, "POST", f"/v1/partitions/{partition}/hand-back", body)

    async def events(
        self,
        *topics: str,
        session: str | None = None,
        from_sequence: int | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[Followed, None]:
        """Yield events, of all sessions or of one: each once, in the order of its session, without end.

        It begins now, at a session's event `from_sequence`, or `after` the place of the last one that was handled:
        whoever keeps that gets everything that they missed. `topics` are those of `AgentBus.on`
        (`session.message.*`); without any, all. A stream that ends or falls silent is gone on with where it was;
        events of kinds that a later release added are passed over.

        Raises PlaceGone for a place that can't be gone on from, SessionNotFound, AccessDenied on behalf of a user who
        may not read, and ServerUnavailable once nobody has answered for `patience` seconds, or streams have ended for
        as long before anything came.
        """
        path = "/v1/events" if session is None else f"/v1/sessions/{_in_path(session)}/events"
        asked: dict[str, Any] = {"topic": topics} if topics else {}
        asked |= {} if from_sequence is None else {"from_sequence": from_sequence}
        place = after
        heard = monotonic()
        while True:
            begun = monotonic()
            try:
                async with aclosing(self._stream(path, asked, place)) as stream:
                    async for place, data in stream:
                        begun = heard = monotonic()
                        if data and (event := _event_in(data)):  # signs of life have a place alone
                            yield Followed(event, place)
            except httpx.TransportError:
                raise_if_cancelled()
            if begun > heard + (self._patience.seconds or 0.0):
                raise ServerUnavailable(f"{self._http.base_url.host} ends each stream of events before anything comes")
            await asyncio.sleep(random.uniform(0.1, _BACK_IN))

    async def call(
        self,
        method: str,
        path: str,
        body: JsonValue = None,
        *,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> JsonValue:
        """Make any call of the API (`"PUT", "/v1/templates/shop", {...}`), and return the JSON of its answer, if any.

        What there is says `/v1/openapi.json`. It is tried again, and raises, as every other call does; a change that
        is to be made once whatever happens is given a `key`.
        """
        answer = await self._send(method, path, body, params=params, key=key)
        if not answer.content:
            return None
        try:
            found: JsonValue = json_in(answer.content)
        except ValueError:
            raise ServerFault(f"the answer to {method} {path} can't be read: is it the HTTP API?") from None
        return found

    async def _stream(
        self, path: str, asked: Mapping[str, Any], place: str | None
    ) -> AsyncGenerator[tuple[str, str], None]:
        """Yield places and data of one stream, until it ends. Raises httpx.TransportError if it dies."""
        headers = {"Accept": "text/event-stream"} | ({} if place is None else {"Last-Event-ID": place})
        patient = httpx.Timeout(self._timeout, read=_SILENT)
        request = self._http.build_request("GET", path, params=asked, headers=headers, timeout=patient)
        answer = await self._tried(request, stream=True)
        try:
            async with aclosing(EventSource(answer).aiter_sse()) as events:
                async for one in events:
                    yield one.id or place or "", one.data
        except SSEError:
            raise ServerFault(f"the answer to GET {path} is no stream of events: is it the HTTP API?") from None
        finally:
            await answer.aclose()

    async def _pages(
        self,
        kind: type[Listed[Item]],
        path: str,
        where: Mapping[str, Any],
        limit: int | None,
        *,
        newest_last: bool = False,
    ) -> AsyncIterator[Item]:
        left, cursor = limit, None
        while left is None or left > 0:
            most = _ON_A_PAGE if left is None else min(left, _ON_A_PAGE)
            params = {**where, "limit": most} | ({"after": cursor} if cursor else {})
            page: Listed[Item] = await self._call(kind, "GET", path, params=params)
            for one in reversed(page.items) if newest_last else page.items:
                yield one
            left = None if left is None else left - len(page.items)
            if (cursor := page.cursor) is None:
                return

    async def _call(self, kind: type[Model], method: str, path: str, body: Any = None, **more: Any) -> Model:
        answer = await self._send(method, path, body, **more)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            raise ServerFault(f"the answer to {method} {path} can't be read: is it the HTTP API?") from None

    async def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """Make a call, again while what keeps it from being answered may pass. Raises what the answer says."""
        named = {**(headers or {}), **({"Idempotency-Key": key} if key else {})}
        return await self._tried(self._http.build_request(method, path, json=body, params=params, headers=named))

    async def _tried(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._patience.call(partial(self._once, request, stream=stream))
        except _Later as later:
            raise later.error from None

    async def _once(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        try:
            answer = await self._http.send(request, stream=stream)
            if answer.is_success:
                return answer
            if stream:
                try:
                    await answer.aread()
                finally:
                    await answer.aclose()
        except httpx.TransportError as error:
            raise _Later(ServerUnavailable(f"{request.url.host} does not answer: {type(error).__name__}")) from None
        told = _error_in(answer)
        if answer.status_code in _LATER:
            raise _Later(told)
        raise told


def _event_in(data: str) -> EventEnvelope | None:
    """Return the event of an envelope; None for one that a later release added. Raises ServerFault."""
    try:
        return EventEnvelope.from_bytes(data.encode())
    except UnsupportedType:
        return None
    except AgentBusError as error:
        raise ServerFault(f"an event can't be read: {error}") from None


def _in_path(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="").replace(".", "%2E")  # or else `..` would lead elsewhere


def _error_in(answer: httpx.Response) -> AgentBusError:
    """Return the error that an answer tells."""
    try:
        told = answer.json()
        code, detail = str(told["code"]), told.get("detail") or told.get("title")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ServerFault(f"answered {answer.status_code}: is it the HTTP API?")
    kind = _kinds().get(code, AgentBusError)
    found = kind.__new__(kind)
    AgentBusError.__init__(found, str(detail) if detail else None)  # some kinds make up their words from what they take
    return found


def _kinds(of: type[AgentBusError] = AgentBusError) -> dict[str, type[AgentBusError]]:
    """Return the kinds of errors by their codes."""
    found = {of.code: of}
    for kind in of.__subclasses__():
        found |= _kinds(kind)
    return found
