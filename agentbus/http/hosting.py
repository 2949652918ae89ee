"""The API worker, which serves the dashboard as well: any number of them side by side, none of which keeps anything."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from agentbus.composition.app import App
from agentbus.composition.probes import Connections, serving
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.telemetry import Action
from agentbus.http.access import is_loopback
from agentbus.http.app import Api
from agentbus.http.dashboard.app import Dashboard
from agentbus.operations.api_keys import any_key
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.delivery.served import ServedWorker
from agentbus.workers.worker import HAND_BACK_SECONDS, Health

MAKE_ONE: Final = "agentbus api-keys create NAME --role read"

_CONNECTIONS: Final = 1000
"""Connections that an API has at once, and one for each stream that may begin: one too many ends the oldest."""

_VERSION: Final = "/v1"

Serving = Callable[[ASGIApp], AbstractAsyncContextManager[int]]
"""Serves an application while it is entered; gives the port."""

_log = Logger(__name__)


class ApiWorker(ServedWorker):
    """Has API and dashboard served, by `serving`. It does not listen beyond this machine while there is no key."""

    def __init__(self, app: App, served: Serving, *, presence: Presence | None = None) -> None:
        super().__init__(presence)
        self._app = app
        self._api = Api(app)
        self._dashboard = Dashboard(app, self._api.parts.jobs)
        self._serving = served

    async def start(self) -> None:
        host = self._app.settings.api.api_host
        self._ended.clear()
        self._api.open()
        self._dashboard.open()
        try:
            keyless = not (self._app.settings.api.api_jwt_issuer or await any_key(self._app.store))
            if keyless and not is_loopback(host):
                raise ConfigurationError(
                    f"the HTTP API does not listen at {host} while there is no key: make one, {MAKE_ONE}"
                )
            await self._watch.start()
            await self._api.parts.streams.start()
            self.port = await self._served.enter_async_context(self._serving(self._answer))
            await self._join()
        except BaseException:
            await self.close(within=0)
            raise
        if keyless:
            _log.warning(Action.API_OPEN, host=host, port=self.port, advice=f"whoever is on this machine: {MAKE_ONE}")
        _log.info(Action.WORKER_STARTED, api_host=host, api_port=self.port)

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Answer those who have called; who calls now is asked to call again, elsewhere."""
        self._dashboard.drain()
        await self._api.drain(within)

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        try:
            await in_turn(
                self._leave,
                partial(self.drain, within=within),
                self._served.aclose,
                self._api.parts.streams.close,
                self._api.parts.jobs.close,
                self._dashboard.close,
                self._watch.close,
            )
        finally:
            self._over()
        _log.info(Action.WORKER_CLOSED)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the API, whose paths begin with its version, or to the dashboard."""
        path = scope.get("path", "")
        app: ASGIApp = self._api.app if path == _VERSION or path.startswith(f"{_VERSION}/") else self._dashboard
        await app(scope, receive, send)

    def health(self) -> Health:
        return self._health(draining=self._api.draining)


def make_api_worker(app: App) -> ApiWorker:
    """Return a worker that serves the HTTP API as the settings say."""
    api, session = app.settings.api, app.settings.session
    served = partial(
        serving, port=api.api_port, host=api.api_host, connections=Connections(most=_CONNECTIONS + api.api_streams)
    )
    presence = Presence(
        app.store,
        WorkerKind.API.group(app.bus.topology.prefix),
        clock=app.clock,
        interval=session.worker_beat,
        ttl=session.worker_ttl,
    )
    return ApiWorker(app, served, presence=None if app.alone else presence)
