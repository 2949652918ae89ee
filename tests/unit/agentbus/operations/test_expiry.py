"""Expiry rules as an operator handles them, and a look at what is due."""

from collections.abc import AsyncIterator

import pytest

from agentbus.composition.app import App, make_bus, make_clock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.operations.expiry import (
    Finding,
    Progress,
    SweepOutcome,
    add_rules,
    enable_rule,
    list_rules,
    parsed_rules,
    remove_rule,
    rule_statistics,
    sweep,
)
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from tests.harness.builders import NOON, a_conversation, a_head

RULES = """
[[rules]]
rule_id = "old"
name = "Too old"
strategy = "time"
conditions = { max_age = 1 }
actions = ["expire"]

[[rules]]
rule_id = "first"
name = "Before the other"
strategy = "time"
priority = 5
conditions = { max_age = 3600 }
actions = ["notify"]
"""


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        await add_rules(made, parsed_rules(RULES, "toml"))
        yield made


def app_on(store: MemoryStore) -> App:
    settings = load_settings(amqp_url="memory://")
    return App(settings=settings, bus=make_bus(settings), store=store, clock=make_clock())


async def test_rules_are_added_listed_by_priority_switched_and_removed(store: MemoryStore) -> None:
    assert [rule.rule_id for rule in await list_rules(store)] == ["first", "old"]
    await enable_rule(store, "old", enabled=False)
    assert [rule.enabled for rule in await list_rules(store)] == [True, False]
    await enable_rule(store, "old")
    await remove_rule(store, "first")
    assert [(rule.rule_id, rule.enabled) for rule in await list_rules(store)] == [("old", True)]


async def test_a_rule_that_is_not_there_can_be_neither_removed_nor_switched(store: MemoryStore) -> None:
    with pytest.raises(ConfigurationError, match="no expiry rule 'none'"):
        await remove_rule(store, "none")
    with pytest.raises(ConfigurationError, match="no expiry rule 'none'"):
        await enable_rule(store, "none")


@pytest.mark.parametrize(("text", "form"), [("{", "json"), ("rules = 3", "toml"), ('[{"rule_id": "a"}]', "json")])
def test_a_document_that_is_none_is_refused_whole(text: str, form: str) -> None:
    with pytest.raises(ConfigurationError):
        parsed_rules(text, "json" if form == "json" else "toml")


async def test_a_dry_run_finds_what_is_due_and_does_nothing(store: MemoryStore) -> None:
    head = a_head(a_conversation()).model_copy(update={"sequence": 1})
    await store.heads.save([head])
    found = [one async for one in sweep(app_on(store), dry_run=True)]
    due = {(one.rule_id, one.came) for one in found if isinstance(one, Finding) and one.rule_id}
    assert due == {("first", SweepOutcome.WOULD)}
    assert found[-1] == Progress(1)
    after = await store.heads.get(head.session_id)
    assert after == head
    assert after.status is SessionStatus.ACTIVE
    assert (await rule_statistics(store)).rules == {}


async def test_rules_that_can_t_be_read_are_said_before_anything_is_done(store: MemoryStore) -> None:
    record = Record(kind=RecordKind.EXPIRY_RULE, key="odd", created_at=NOON, data={"strategy": "by the moon"})
    await store.records.put(record)
    with pytest.raises(ConfigurationError, match="odd"):
        await list_rules(store)
    with pytest.raises(ConfigurationError, match="odd"):
        _ = [one async for one in sweep(app_on(store), dry_run=False)]
