"""Features: the parts of a session system that are switched on, each with its worker and its calls."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Never, TypeVar

from agentbus.composition.app import App
from agentbus.composition.workers import make_sweep, make_sync
from agentbus.contracts.errors import FeatureNotEnabled
from agentbus.contracts.members import WorkerKind
from agentbus.sessions.config import SessionSystemConfig
from agentbus.sessions.engine import Engine
from agentbus.sessions.sections.expiry import Expiry
from agentbus.sessions.sections.sync import Sync

if TYPE_CHECKING:  # What it takes to track is imported by whoever tracks.
    from agentbus.sessions.sections.tracking import Tracking

CallsT = TypeVar("CallsT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature(Generic[CallsT]):
    """A part of a session system."""

    name: str
    """`enable_NAME` switches it on."""
    enabled: Callable[[SessionSystemConfig], bool]
    """Reads that switch."""
    worker: WorkerKind | None = None
    """What works for it, in the same process; None: it comes in a later release."""
    make_calls: Callable[[App, Engine], CallsT] | None = None
    """Makes the section that its calls go to."""

    def is_on(self, config: SessionSystemConfig) -> bool:
        """Whether a system of that configuration has it."""
        return self.enabled(config) or (config.enable_all_features and self.worker is not None)

    def off(self) -> FeatureNotEnabled:
        """Return the error of a call, or a start, of a system that does not have it."""
        if self.worker is None:
            return FeatureNotEnabled(f"{self.name} comes in a later release; leave enable_{self.name} off until then")
        return FeatureNotEnabled(f"{self.name} is not running: start the system with enable_{self.name}=True")


def _sync(app: App, engine: Engine) -> Sync:
    return Sync(engine, make_sync(app))


def _expiry(app: App, engine: Engine) -> Expiry:
    return Expiry(engine, partial(make_sweep, app), app.clock)


def _tracking(app: App, engine: Engine) -> "Tracking":
    from agentbus.sessions.sections.tracking import Tracking  # noqa: PLC0415 - see above

    return Tracking(engine, app.archive, app.clock, secret_keys=app.settings.session.secret_keys)


SYNC: Final = Feature(name="sync", enabled=lambda config: config.enable_sync, worker=WorkerKind.SYNC, make_calls=_sync)
PERSISTENCE: Final[Feature[Never]] = Feature(name="persistence", enabled=lambda config: config.enable_persistence)
TRACKING: Final = Feature(
    name="tracking", enabled=lambda config: config.enable_tracking, worker=WorkerKind.TRACKING, make_calls=_tracking
)
EXPIRY: Final = Feature(
    name="expiry", enabled=lambda config: config.enable_expiry, worker=WorkerKind.EXPIRY, make_calls=_expiry
)

FEATURES: Final[tuple[Feature[Any], ...]] = (SYNC, PERSISTENCE, TRACKING, EXPIRY)
