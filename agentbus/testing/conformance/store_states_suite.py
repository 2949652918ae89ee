"""What the states of components promise on every store."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentbus.contracts.errors import SchemaViolation, StateError, StoreDamaged
from agentbus.contracts.records import MAX_COMPONENTS_BYTES, Record, RecordKind
from agentbus.state import StateStore
from agentbus.storage.port import Store
from agentbus.testing.builders import a_moment
from agentbus.testing.clock import later
from agentbus.testing.conformance.store_records_suite import ODD_DATA

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
NAMES = KEYS.filter(bool)
STATES = st.dictionaries(NAMES, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)


class StoreStatesSuite:
    """What every store must do. Subclasses define the fixture `store`."""

    async def test_states_are_kept_until_they_are_deleted(self, store: Store) -> None:
        states = StateStore(store)
        assert await states.load("ada") is None
        assert not await states.exists("ada")
        assert await states.get_session_info("ada") is None
        assert not await states.delete("ada")
        await states.save("ada", {"memory": {"odd": ODD_DATA}, "a.plan": {}})
        assert await states.load("ada") == {"memory": {"odd": ODD_DATA}, "a.plan": {}}
        assert list(await states.load("ada") or {}) == ["memory", "a.plan"]
        await states.save("ada", {"memory": {}})
        assert await states.load("ada") == {"memory": {}}
        assert await states.exists("ada")
        assert await states.delete("ada")
        assert await states.load("ada") is None

    async def test_states_come_back_as_they_were(self, store: Store) -> None:
        states = StateStore(store)
        examples = list[dict[str, dict[str, JsonValue]]]()

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(STATES)
        def draw(drawn: dict[str, dict[str, JsonValue]]) -> None:
            examples.append(drawn)

        draw()
        for example in examples:
            await states.save("ada", example)
            loaded = await states.load("ada")
            assert json.dumps(loaded) == json.dumps(example)

    async def test_sessions_with_states_are_listed_by_page_the_last_saved_first(self, store: Store) -> None:
        states = StateStore(store)
        for name in ("ada", "bob.1", "çelik 😀"):
            await states.save(name, {"memory": {}})
            await later()
        await states.save("ada", {"memory": {"turns": 2}})
        first = await states.list_sessions(limit=2)
        assert first.items == ("ada", "çelik 😀")
        rest = await states.list_sessions(limit=2, cursor=first.cursor)
        assert (rest.items, rest.cursor) == (("bob.1",), None)

    async def test_what_is_known_of_states_is_told(self, store: Store) -> None:
        states = StateStore(store)
        await states.save("ada", {"memory": {"turns": ["é"]}, "plan": {}})
        info = await states.get_session_info("ada")
        assert info is not None
        assert (info.session_id, info.components, info.component_count) == ("ada", ("memory", "plan"), 2)
        assert info.size == len('{"memory":{"turns":["é"]},"plan":{}}'.encode())
        kept = await store.records.get(RecordKind.COMPONENTS, "ada")
        assert kept is not None
        assert info.last_modified == kept.created_at

    async def test_large_states_are_kept_and_too_large_ones_refused(self, store: Store) -> None:
        states = StateStore(store)
        large: dict[str, JsonValue] = {"text": "x" * (MAX_COMPONENTS_BYTES - 1_000)}
        await states.save("ada", {"memory": large})
        with pytest.raises(StateError, match="limit"):
            await states.save("ada", {"memory": large, "plan": {"text": "y" * 2_000}})
        assert await states.load("ada") == {"memory": large}

    async def test_what_is_no_id_is_refused(self, store: Store) -> None:
        states = StateStore(store)
        for session_id in ("", "x" * 256, "a/b", "a\\b", "..", "a\nb", "\x00", "\ud800"):
            for call in (states.load, states.exists, states.delete, states.get_session_info):
                with pytest.raises(SchemaViolation):
                    await call(session_id)
            with pytest.raises(SchemaViolation):
                await states.save(session_id, {})

    async def test_a_longest_id_is_one(self, store: Store) -> None:
        states = StateStore(store)
        for session_id in ("x" * 255, "😀" * 255):
            await states.save(session_id, {"memory": {"of": session_id[0]}})
            assert await states.load(session_id) == {"memory": {"of": session_id[0]}}
        assert set((await states.list_sessions()).items) == {"x" * 255, "😀" * 255}

    async def test_what_somebody_else_wrote_is_damaged(self, store: Store) -> None:
        written: list[dict[str, JsonValue]] = [
            {},
            {"states": {"a": {}}, "order": []},
            {"states": {"a": 1}, "order": ["a"]},
            {"states": 1, "order": 1},
        ]
        for data in written:
            kept = Record(kind=RecordKind.COMPONENTS, key="ada", group="components", created_at=a_moment(0), data=data)
            await store.records.put(kept)
            with pytest.raises(StoreDamaged, match="ada"):
                await StateStore(store).load("ada")
