"""The expiry rules, kept as records: for those who set them, and as the workers go by them."""

import hashlib
import json
from collections.abc import Sequence

from pydantic import ValidationError

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import ExpiryRule, ExpiryStrategy
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records

_GROUP = "default"

_log = Logger(__name__)


class ExpiryRules:
    """Adds, changes and removes rules. A change is in force everywhere some seconds later."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, rule: ExpiryRule) -> None:
        """Keep a rule, in place of the one of the same id. The same rule again is no change."""
        data = rule.model_dump(mode="json")
        kept = await self._store.records.get(RecordKind.EXPIRY_RULE, rule.rule_id)
        if kept is None or kept.data != data:
            record = Record(kind=RecordKind.EXPIRY_RULE, key=rule.rule_id, created_at=self._clock.now(), data=data)
            await self._store.records.put(record)

    async def remove(self, rule_id: str) -> bool:
        """Take a rule away; return whether there was one. What it did to sessions stays done."""
        return await self._store.records.delete(RecordKind.EXPIRY_RULE, rule_id)

    async def enable(self, rule_id: str, enabled: bool = True) -> bool:
        """Switch a rule on or off; return whether there is one."""
        record = await self._store.records.get(RecordKind.EXPIRY_RULE, rule_id)
        if record is None:
            return False
        await self.add(_read(record).model_copy(update={"enabled": enabled}))
        return True

    async def list(self) -> tuple[ExpiryRule, ...]:
        """Return the rules, the highest priority first. Raises ConfigurationError for one that can't be read."""
        return (await self.look())[0]

    async def look(self) -> tuple[tuple[ExpiryRule, ...], str]:
        """Return the rules as `list` does, and what tells them from all that were there before.

        Rules that were changed and changed back are other ones: an instance that saw what was between may have left
        sessions without a deadline.
        """
        records = [record async for record in iter_records(self._store, RecordKind.EXPIRY_RULE, _GROUP)]
        rules = sorted(map(_read, records), key=lambda rule: (-rule.priority, rule.rule_id))
        return tuple(rules), _fingerprint(records)


class RuleBook:
    """The rules that a worker goes by: those that were there when it last looked."""

    def __init__(self, rules: ExpiryRules) -> None:
        self._rules = rules
        self.rules: tuple[ExpiryRule, ...] = ()
        self.fingerprint = _fingerprint(())
        """Tells one set of rules from another."""
        self.least_messages: int | None = None
        """Sessions of fewer messages are none of these rules' business when a message comes; None: all sessions."""
        self.returning = False
        """Whether a rule may be through with a session that goes on: the next activity makes it begin anew."""
        self.custom = False
        """Whether a condition of somebody's own may look at anything in a session."""

    async def refresh(self) -> None:
        """Look again. Rules that can't be read leave those that were there in force."""
        try:
            rules, fingerprint = await self._rules.look()
        except ConfigurationError as error:
            _log.error(Action.EXPIRY_RULES_UNREADABLE, error=str(error))
            return
        if fingerprint != self.fingerprint:
            self.rules, self.fingerprint = rules, fingerprint
            self.returning = any(rule.enabled and not rule.actions[-1].action.ends for rule in rules)
            self.custom = any(rule.enabled and rule.strategy is ExpiryStrategy.CUSTOM for rule in rules)
            self.least_messages = min((_least(rule) for rule in rules if _counts(rule)), default=None)
            _log.info(Action.EXPIRY_RULES_CHANGED, rules=[rule.rule_id for rule in rules])


def _read(record: Record) -> ExpiryRule:
    try:
        return ExpiryRule.model_validate(record.data)
    except ValidationError as error:
        raise ConfigurationError(
            f"the expiry rule {record.key!r} in the store is not one that this release knows: {error}"
        ) from error


def _counts(rule: ExpiryRule) -> bool:
    """Whether a message may make the rule hold earlier than it would without."""
    by_messages = rule.conditions.max_messages is not None or rule.strategy is ExpiryStrategy.CUSTOM
    return rule.enabled and by_messages


def _least(rule: ExpiryRule) -> int:
    return rule.conditions.max_messages or 1


def _fingerprint(records: Sequence[Record]) -> str:
    kept = {record.key: (record.created_at.isoformat(), record.data) for record in records}
    text = json.dumps(kept, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
