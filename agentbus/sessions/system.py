"""The session system: a session manager with all that runs behind it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agentbus.composition.app import make_clock
from agentbus.composition.supervision import Component
from agentbus.contracts.errors import NotInitialized, StoreError
from agentbus.contracts.expiry import ExpiryRule
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.sync import Conflict, ConflictStrategy, Identity, SyncPolicy
from agentbus.contracts.tracking import EventType, StateTransitionType, TrackedEvent, Usage
from agentbus.logs import configure_library_logs
from agentbus.sessions.config import SessionSystemConfig
from agentbus.sessions.features import EXPIRY, FEATURES, PERSISTENCE, SYNC, TRACKING, CallsT, Feature
from agentbus.sessions.manager import ANSWERS_WITHIN, SessionManager, checked_part
from agentbus.sessions.model.results import Health, Page
from agentbus.sessions.model.types import Platform, SessionStatus
from agentbus.sessions.model.validation import checking
from agentbus.sessions.running import Running
from agentbus.sessions.sections.deadlines import CleanupReport
from agentbus.sessions.sections.shared import Caller
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.domain.tracking.chances import Prediction
from agentbus.workers.domain.tracking.patterns import Patterns, Period
from agentbus.workers.expiry.statistics import ExpiryStatistics
from agentbus.workers.notify import NotificationCallback
from agentbus.workers.sync.demand import SyncReport
from agentbus.workers.sync.people.claims import VALID_FOR, ClaimCode
from agentbus.workers.sync.people.suggestions import Suggestion
from agentbus.workers.sync.people.trail import SyncNote
from agentbus.workers.tracking.statistics import StateStatistics

if TYPE_CHECKING:  # What it takes to back up is imported by whoever does.
    from agentbus.contracts.backup import BackupFormat, Manifest
    from agentbus.contracts.recovery import RecoveryStrategy, RestoredSession
    from agentbus.sessions.sections.persistence import BackupCheck, RestoreReport
    from agentbus.workers.recovery import RecoveryOptions


class SessionSystem(SessionManager):
    """All that SessionManager offers, started and stopped together with what it needs.

    Embedded (no `amqp_url`) it runs a bus and a session worker in this process. Several processes may run embedded on
    one store: every change is checked against the log. With `amqp_url` the same calls go to the session workers there.
    A call of a feature that was not switched on (`enable_sync`, `enable_tracking`, ...) raises FeatureNotEnabled.
    """

    def __init__(self, config: SessionSystemConfig | None = None) -> None:
        self.config = config or SessionSystemConfig()
        super().__init__(None, self.config.manager_options, clock=make_clock())
        self.config.update({})  # checks it
        self._changing = asyncio.Lock()
        self._callbacks: list[NotificationCallback] = []
        self._running: Running | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._running is not None

    async def start(self) -> None:
        """Open store and bus, and start the components. Idempotent.

        Raises ConfigurationError, StoreUnavailable, BusError.
        """
        async with self._changing:
            if self._running is None:
                configure_library_logs()
                self._running = await self._run()
                self._attached = self._running.sections

    async def stop(self) -> None:
        """Stop the components, finish what is in hand, close bus and store. Idempotent.

        A call that the store did not answer is given up after a few seconds: whoever made it may repeat it later.
        """
        async with self._changing:
            running, self._running = self._running, None
            if running is not None:
                try:
                    await running.close()
                finally:
                    self._attached = None

    async def restart(self) -> None:
        """Stop and start again. Sessions in memory are gone then."""
        await self.stop()
        await self.start()

    async def get_system_status(self) -> dict[str, Any]:
        """Return how the system is: `system`, `metrics`, `components`, `features`.

        Its status is running, stopped, or degraded while a part of it does not work. The metrics are None while there
        is no store to ask.
        """
        running, figures = self._running, await self._figures()
        outside = await self._outside_checks()
        working = figures and running and running.works and all(part["healthy"] for part in outside.values())
        return {
            "system": {
                "status": ("running" if working else "degraded") if running else "stopped",
                "mode": "distributed" if self.config.amqp_url else "embedded",
                "storage": str(self.config.storage_type),
                "started_at": f"{running.started_at:%Y-%m-%dT%H:%M:%SZ}" if running else None,
            },
            "metrics": {
                "total_sessions": figures.total if figures else None,
                "active_sessions": figures.by_status.get(SessionStatus.ACTIVE, 0) if figures else None,
                "messages": figures.messages if figures else None,
            },
            "components": {component.name: component.describe() for component in self._components},
            "features": {feature.name: feature.is_on(self.config) for feature in FEATURES},
        }

    async def get_health_check(self) -> Health:
        """Return as `health_check` does."""
        return await self.health_check()

    async def health_check(self) -> Health:
        """Return whether each part works, with the reason where one does not; true if all of them do."""
        parts = {
            component.name: {
                "healthy": bool(self._running and self._running.does_work(component)),
                **component.describe(),
            }
            for component in self._components
        }
        return Health({**parts, **await self._outside_checks(), "store": await self._store_check()})

    async def sync_sessions(self, source_session_id: str, *, user_id: str | None = None) -> SyncReport:
        """Bring what a session has to those it is linked to, now, as their policy says; return what that did.

        Raises SessionNotFound, or AccessDenied unless `user_id` owns it; StoreError, BusError.
        """
        return await self._calls(SYNC).sync(source_session_id, user_id)

    async def link_identities(
        self,
        identity_key: str,
        session_ids: Sequence[str],
        display_name: str | None = None,
        *,
        user_id: str | None = None,
    ) -> Identity:
        """Say that these sessions, and those linked to the identity already, are one person's. Idempotent.

        Raises IdentityConflict if one of them is linked to another identity, SessionNotFound; AccessDenied unless
        `user_id` owns them all, those linked already too (across users a claim code links); SchemaViolation for a key
        or name that can't be.
        """
        return await self._calls(SYNC).link(identity_key, session_ids, display_name, user_id)

    async def unlink_identity(self, session_id: str, *, user_id: str | None = None) -> str | None:
        """Say that a session is not, or no longer, its identity's; return that identity's key, None if it had none.

        Nothing is shared with it from now on; what was shared until now stays, and so does the history of it. Raises
        SessionNotFound, AccessDenied.
        """
        return await self._calls(SYNC).unlink(session_id, user_id)

    async def get_identity(self, identity_key: str, *, user_id: str | None = None) -> Identity | None:
        """Return an identity with the latest session of each conversation that is linked to it, or None.

        With `user_id` it raises AccessDenied unless there is one, and they may read all its sessions.
        """
        return await self._calls(SYNC).identity(identity_key, user_id)

    async def get_session_identity(self, session_id: str, *, user_id: str | None = None) -> Identity | None:
        """Return the identity that a session is linked to, or None.

        Raises SessionNotFound, or AccessDenied unless `user_id` may read all that is linked.
        """
        return await self._calls(SYNC).identity_of(session_id, user_id)

    async def create_claim_code(
        self, session_id: str, *, valid_for: float = VALID_FOR, user_id: str | None = None
    ) -> ClaimCode:
        """Give out a code, to be shown to a session's user alone: sent from another channel, it links that one.

        It is good once, for `valid_for` seconds. The user sends it as it is, or as `/link CODE`, and is answered there.
        Raises SessionNotFound, AccessDenied; SchemaViolation for a time that can't be.
        """
        return await self._calls(SYNC).claim_code(session_id, valid_for, user_id)

    async def suggest_links(self, *, user_id: str | None = None) -> list[Suggestion]:
        """Return pairs of sessions that may be one person's, by what their metadata says of how to reach their users.

        The keys are verified_email, verified_phone and handle. Nothing is linked until `confirm_link`. With `user_id`
        those pairs alone that they own.
        """
        return await self._calls(SYNC).suggestions(user_id)

    async def confirm_link(self, suggestion_id: str, *, user_id: str | None = None) -> Identity:
        """Link two sessions that were suggested.

        Raises SuggestionNotFound, or AccessDenied unless `user_id` owns both; and as `link_identities` does.
        """
        return await self._calls(SYNC).confirm(suggestion_id, user_id)

    async def dismiss_link(self, suggestion_id: str, *, user_id: str | None = None) -> None:
        """Say that two sessions are not one person's: they are not suggested again.

        Raises SuggestionNotFound, or AccessDenied unless `user_id` owns both.
        """
        await self._calls(SYNC).dismiss(suggestion_id, user_id)

    async def list_conflicts(
        self,
        identity_key: str | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
        user_id: str | None = None,
    ) -> Page[tuple[SessionId, tuple[Conflict, ...]]]:
        """Return the live sessions that have open conflicts, all or an identity's, each with its conflicts.

        With `user_id` those alone that they own. A page may be short and still have a cursor. Raises ValueError for a
        limit outside 1..1000 or a cursor that was not given out here.
        """
        return await self._calls(SYNC).conflicts(identity_key, user_id, limit=limit, cursor=cursor)

    async def resolve_session_conflicts(
        self,
        session_ids: Sequence[str],
        strategy: ConflictStrategy | str | None = None,
        *,
        take_offered: bool | None = None,
        fields: Sequence[str] = (),
        priority: Sequence[Platform | str] = (),
        user_id: str | None = None,
    ) -> list[Conflict]:
        """Resolve the open conflicts of sessions: by a strategy, or by taking the offered or the held values.

        `fields` are JSON pointers such as `/data/city`; without them all conflicts are meant. What is chosen goes to
        the linked sessions. Returns the conflicts that are over. Raises SessionNotFound, SessionNotCurrent,
        AccessDenied; SchemaViolation for what is no way to resolve.
        """
        return await self._calls(SYNC).resolve(
            session_ids, strategy, take_offered=take_offered, fields=fields, priority=priority, user_id=user_id
        )

    async def get_sync_history(
        self,
        session_id: str | None = None,
        *,
        identity_key: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        user_id: str | None = None,
    ) -> Page[SyncNote]:
        """Return who linked, unlinked and changed what, and from where, the latest first.

        Of one session's conversation, or of all that are, or ever were, linked to an identity. A page may be short and
        still have a cursor. Raises SessionNotFound, or AccessDenied unless `user_id` owns the session, or all that are
        linked, and then of those alone; ValueError for both or neither, a wrong limit or cursor.
        """
        return await self._calls(SYNC).history(session_id, identity_key, user_id, limit=limit, cursor=cursor)

    async def get_sync_policy(self, identity_key: str | None = None, *, user_id: str | None = None) -> SyncPolicy:
        """Return the policy that an identity's sessions are synced by; without one, that of all others.

        Raises AccessDenied unless `user_id` may read all that is linked to the identity.
        """
        return await self._calls(SYNC).policy(identity_key, user_id)

    async def set_sync_policy(
        self, policy: SyncPolicy | None, identity_key: str | None = None, *, user_id: str | None = None
    ) -> None:
        """Set the policy of an identity, or without one of all that have none; None takes it away again.

        Raises AccessDenied unless `user_id` owns all that is linked to the identity.
        """
        await self._calls(SYNC).set_policy(policy, identity_key, user_id)

    async def add_expiry_rule(self, rule: ExpiryRule) -> None:
        """Keep a rule, in place of the one of the same id; it is in force some seconds later, for all sessions."""
        await self._calls(EXPIRY).add(rule)

    async def remove_expiry_rule(self, rule_id: str) -> bool:
        """Take a rule away; return whether there was one. What it did to sessions stays done."""
        return await self._calls(EXPIRY).remove(rule_id)

    async def enable_expiry_rule(self, rule_id: str, enabled: bool = True) -> bool:
        """Switch a rule on or off; return whether there is one."""
        return await self._calls(EXPIRY).enable(rule_id, enabled)

    async def list_expiry_rules(self) -> tuple[ExpiryRule, ...]:
        """Return the rules, the highest priority first."""
        return await self._calls(EXPIRY).rules()

    async def get_expiry_statistics(self) -> ExpiryStatistics:
        """Return how often each rule did what, since it was first there; a step is counted once."""
        return await self._calls(EXPIRY).statistics()

    def add_notification_callback(self, callback: NotificationCallback) -> None:
        """Tell `callback` of each step that a rule takes, from the next start of the system on.

        It may be told more than once, with the same `notice_id`.
        """
        self._callbacks.append(callback)

    async def cleanup_expired_sessions(self, dry_run: bool = False) -> CleanupReport:
        """Expire the sessions whose time has come, and make idle those that were silent; return which they were.

        With `enable_expiry`, do what is due by expiry rules too. A dry run changes nothing; it names all that is due.
        """
        deadlines, expiry = self._sections.deadlines, self._calls_if_on(EXPIRY)
        report = await (deadlines.due() if dry_run else deadlines.apply())
        return replace(report, steps=await expiry.sweep(dry_run=dry_run)) if expiry else report

    async def track_event(
        self,
        session_id: str,
        event_type: EventType | str,
        *,
        user_id: str | None = None,
        request_id: str | None = None,
        **data: Any,
    ) -> TrackedEvent:
        """Keep that something happened in a session, beside what its log says by itself; return what is kept.

        `event_type` may be a word of your own. Secrets in `data` are left out. With the same `request_id` again it is
        kept once. It stays when the session ends or is deleted, but not when its user is erased. Raises
        SessionNotFound, or AccessDenied unless `user_id` may write; SchemaViolation, StoreError.
        """
        return await self._calls(TRACKING).track(session_id, event_type, data, user_id=user_id, request_id=request_id)

    async def track_session_state_change(
        self,
        session_id: str,
        status: SessionStatus | str,
        transition_type: StateTransitionType | str = StateTransitionType.MANUAL,
        reason: str | None = None,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Move a session to another status, or state of the installation's own, as `set_session_state` does; keep why.

        That is in the audit log, and ways of the state machine may ask for it (`types`).

        Raises TransitionForbidden where no way leads there; SchemaViolation, SessionNotFound, SessionNotCurrent, or
        AccessDenied if `user_id` is given.
        """
        self._calls(TRACKING)
        with checking("the session can't be moved like that"):
            why = StateTransitionType(transition_type)
        told = f"{why}: {reason}" if reason else why.value
        await self._sections.lifecycle.set_status(session_id, status, told, Caller(user_id, fence, request_id), why)

    async def get_state_machine(self) -> StateMachine:
        """Return the machine that sessions go by: the installation's own, or the one that holds without.

        Raises StoreError, also for one that can't be read.
        """
        return await self._calls(TRACKING).machine()

    async def set_state_machine(self, machine: StateMachine | Mapping[str, Any] | None) -> None:
        """Have all sessions of the installation go by a machine; None: by the one that holds without.

        On return all workers go by it, a second later. Sessions in a state that it does not have are from then on in
        that of their status. Raises SchemaViolation for a machine that can't be.
        """
        self._calls(TRACKING)
        with checking("there is no such state machine"):
            wanted = None if machine is None else StateMachine.model_validate(machine)
        await self._calls(TRACKING).set_machine(wanted)

    async def get_tracked_events(
        self, session_id: str, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[TrackedEvent]:
        """Return what was told of a session by `track_event`, the latest first.

        What happened in it by itself is in `get_audit_log`. Raises SessionNotFound, or AccessDenied unless `user_id`
        may read; ValueError for a limit outside 1..1000.
        """
        return await self._calls(TRACKING).events(session_id, user_id, limit=limit, cursor=cursor)

    async def get_session_usage(self, session_id: str, *, user_id: str | None = None) -> Usage | None:
        """Return what a session used by now: messages, characters, how long people and bot waited for each other.

        None for a session whose log is damaged. Raises SessionNotFound, or AccessDenied unless `user_id` may read.
        """
        return await self._calls(TRACKING).usage(session_id, user_id)

    async def get_usage_patterns(
        self, within: timedelta = timedelta(days=30), *, zone: str = "UTC", period: Period | str = Period.DAY
    ) -> Patterns:
        """Return how sessions were used in the time up to now: by hour and weekday, who waited, bursts, a trend.

        As far as the tracking worker has followed the logs: up to some seconds ago. Reads the figures of every day of
        each conversation in that time. Raises SchemaViolation for a time, zone or period that can't be.
        """
        return await self._calls(TRACKING).patterns(within, zone, period)

    async def plot_usage_patterns(
        self,
        file: str | Path,
        within: timedelta = timedelta(days=30),
        *,
        zone: str = "UTC",
        period: Period | str = Period.DAY,
    ) -> Path:
        """Write usage patterns to a picture, PNG or SVG by its name: hours, weekdays, the trend; return its path.

        PNG takes the extra `plots`. Raises ConfigurationError for another kind of file, one that can't be written, and
        where the extra is missing; SchemaViolation as `get_usage_patterns` does.
        """
        return await self._calls(TRACKING).plot(file, within, zone, period)

    async def get_state_statistics(self, within: timedelta = timedelta(days=1)) -> StateStatistics:
        """Return how many sessions began, ended and changed status in the time up to now, and how many there are.

        As far as the tracking worker has followed the logs. Raises SchemaViolation for a time that can't be.
        """
        return await self._calls(TRACKING).statistics(within)

    async def predict_session_lifecycle(self, session_id: str, *, user_id: str | None = None) -> Prediction:
        """Return how likely it is that the person writes again, and that the session ends: in an hour, a day, a week.

        By how it went in the last 90 days with others that had been silent, or there, for as long (Kaplan-Meier by
        whole hours). None for a chance of which too little is known. Raises SessionNotFound, or AccessDenied unless
        `user_id` may read.
        """
        return await self._calls(TRACKING).predict(session_id, user_id)

    async def create_backup(
        self,
        format: "BackupFormat | str | None" = None,  # noqa: A002 - what people call it
        description: str = "",
        tags: Sequence[str] = (),
        *,
        incremental: bool = False,
    ) -> "Manifest":
        """Make a backup of all that the store holds, and return what it is. Calls go on meanwhile.

        `incremental`: what has changed since the latest one is enough. One that was interrupted is gone on with. What
        is damaged is told in the log; `is_complete` of the manifest is false then, and `counts.damaged` says how much.
        Raises ConfigurationError without a place for backups, SchemaViolation for a format that is none, BackupRefused
        if another one takes too long, or a key is missing; BackupError, StoreError.
        """
        return await self._calls(PERSISTENCE).create(format, description, tags, incremental=incremental)

    async def list_backups(self) -> "list[Manifest]":
        """Return the finished backups, the latest first. Raises ConfigurationError, BackupError."""
        return await self._calls(PERSISTENCE).all()

    async def verify_backup(self, backup_id: str) -> "BackupCheck":
        """Read every byte of a backup (`latest`: of the latest); return what is wrong with which file, if anything is.

        Raises ConfigurationError, BackupNotFound, BackupError.
        """
        return await self._calls(PERSISTENCE).verify(backup_id)

    async def delete_backup(self, backup_id: str) -> None:
        """Remove a backup, with the files that no other one needs. Raises ConfigurationError, BackupError."""
        await self._calls(PERSISTENCE).delete(backup_id)

    async def cleanup_old_backups(self, keep_last: int | None = None, *, dry_run: bool = False) -> list[str]:
        """Remove the backups that are not kept, and return which: all but `keep_last`, or as the settings say.

        The latest stays in any case. A dry run removes nothing. Raises ConfigurationError, BackupError.
        """
        return await self._calls(PERSISTENCE).clean_up(keep_last, dry_run=dry_run)

    async def restore_backup(
        self, backup_id: str, options: "RecoveryOptions | None" = None, *, dry_run: bool = False
    ) -> "RestoreReport":
        """Restore a backup (`latest`: the latest), by default by merging; return what became of each session.

        It is verified before anything is touched. Each session comes back through its owner, while calls go on, and
        nothing that was announced before is announced again. A dry run changes nothing. Interrupted, call it again:
        it goes on. Raises ConfigurationError, BackupNotFound, BackupDamaged, BackupRefused, StoreError, BusError.
        """
        return await self._calls(PERSISTENCE).restore(backup_id, options, dry_run=dry_run)

    async def export_session(
        self,
        session_id: str,
        format: "BackupFormat | str" = "json",  # noqa: A002 - what people call it
        path: str | Path | None = None,
        *,
        user_id: str | None = None,
    ) -> Path:
        """Write a session with its whole history to a file, by default `<session_id>.<format>`; return its path.

        Raises SessionNotFound, or AccessDenied unless `user_id` may read; TransitionForbidden for one whose history
        has left the store, SchemaViolation for a format that is none, BackupError, StoreError.
        """
        return await self._calls(PERSISTENCE).export(session_id, format, path, user_id)

    async def import_session(self, path: str | Path, strategy: "RecoveryStrategy | str" = "merge") -> "RestoredSession":
        """Bring an exported session, in whichever format, into the store; return what became of it.

        Where it is still, what it lacks is added, or as the strategy says. Raises BackupNotFound, BackupDamaged for
        what is no exported session, BackupRefused for a pickle without the right key; StoreError, BusError.
        """
        return await self._calls(PERSISTENCE).take_in(path, strategy)

    async def _outside_checks(self) -> dict[str, dict[str, Any]]:
        """Return whether the broker answers, and a session worker is at work; nothing where both are in here."""
        if self._running is None or self.config.amqp_url is None:
            return {}
        asked = (self._running.check_bus, self._running.session_workers)
        broker, workers = await side_by_side(map(checked_part, asked))
        if workers.get("at_work") == 0:
            workers |= {"healthy": False, "last_error": "none is at work: start one by `agentbus worker session`"}
        return {"broker": broker, "session_workers": workers}

    async def _run(self) -> Running:
        return await Running.start(self.config, self._clock, self._callbacks)

    def _calls(self, feature: Feature[CallsT]) -> CallsT:
        """Return what a feature's calls go to. Raises FeatureNotEnabled."""
        found = self._calls_if_on(feature)
        if found is None:
            raise feature.off()
        return found

    def _calls_if_on(self, feature: Feature[CallsT]) -> CallsT | None:
        return self._running.calls(feature) if self._running else None

    @property
    def _components(self) -> list[Component]:
        return self._running.components if self._running else []

    async def _figures(self) -> SessionStatistics | None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                return await self._store.heads.statistics(SessionFilter())
        except (StoreError, NotInitialized, TimeoutError):
            raise_if_cancelled()
            return None
