"""Features: the parts of a session system that are switched on, each with its worker and its calls."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from agentbus.composition.app import App
from agentbus.composition.workers import make_sweep, make_sync
from agentbus.contracts.errors import FeatureNotEnabled
from agentbus.contracts.members import WorkerKind
from agentbus.sessions.config import SessionSystemConfig
from agentbus.sessions.engine import Engine

if TYPE_CHECKING:  # What a feature takes is imported by whoever has it.
    from agentbus.sessions.sections.expiry import Expiry
    from agentbus.sessions.sections.persistence import Persistence
    from agentbus.sessions.sections.sync import Sync
    from agentbus.sessions.sections.tracking import Tracking

CallsT = TypeVar("CallsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature(Generic[CallsT]):
    """A part of a session system."""

    name: str
    """`enable_NAME` switches it on."""
    enabled: Callable[[SessionSystemConfig], bool]
    """Reads that switch."""
    worker: WorkerKind
    """What works for it, in the same process."""
    make_calls: Callable[[App, Engine], CallsT]
    """Makes the section that its calls go to."""
    has_work: Callable[[App], bool] = lambda _app: True
    """Whether there is something to do for its worker, where all features are on."""

    def is_on(self, config: SessionSystemConfig) -> bool:
        """Whether a system of that configuration has it."""
        return self.enabled(config) or config.enable_all_features

    def off(self) -> FeatureNotEnabled:
        """Return the error of a call of a system that does not have it."""
        return FeatureNotEnabled(f"{self.name} is not running: start the system with enable_{self.name}=True")


def _sync(app: App, engine: Engine) -> "Sync":
    from agentbus.sessions.sections.sync import Sync  # noqa: PLC0415 - see above

    return Sync(engine, make_sync(app))


def _expiry(app: App, engine: Engine) -> "Expiry":
    from agentbus.sessions.sections.expiry import Expiry  # noqa: PLC0415 - see above

    return Expiry(engine, partial(make_sweep, app), app.clock)


def _tracking(app: App, engine: Engine) -> "Tracking":
    from agentbus.sessions.sections.tracking import Tracking  # noqa: PLC0415 - see above

    return Tracking(engine, app.archive, app.clock, secret_keys=app.settings.session.secret_keys)


def _persistence(app: App, engine: Engine) -> "Persistence":
    from agentbus.sessions.sections.persistence import Persistence  # noqa: PLC0415 - see above

    return Persistence(engine, app)


def _has_place(app: App) -> bool:
    return app.settings.backup.backup_url is not None


SYNC: Final = Feature(name="sync", enabled=lambda config: config.enable_sync, worker=WorkerKind.SYNC, make_calls=_sync)
PERSISTENCE: Final = Feature(
    name="persistence",
    enabled=lambda config: config.enable_persistence,
    worker=WorkerKind.BACKUP,
    make_calls=_persistence,
    has_work=_has_place,
)
TRACKING: Final = Feature(
    name="tracking", enabled=lambda config: config.enable_tracking, worker=WorkerKind.TRACKING, make_calls=_tracking
)
EXPIRY: Final = Feature(
    name="expiry", enabled=lambda config: config.enable_expiry, worker=WorkerKind.EXPIRY, make_calls=_expiry
)

FEATURES: Final[tuple[Feature[Any], ...]] = (SYNC, PERSISTENCE, TRACKING, EXPIRY)
