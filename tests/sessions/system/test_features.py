"""What a session system has only if it is switched on: one way to say so, for every feature and every call of it."""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import pytest

from agentbus.composition.workers import WORKERS
from agentbus.sessions import FeatureNotEnabled, SessionSystem, SessionSystemConfig
from agentbus.sessions import features as features_module
from agentbus.sessions.config import make_config
from agentbus.sessions.features import FEATURES, Feature

_PARTS_OF_ALL: Final = {"enable_all_features", "enable_cleanup"}
"""Switches of what is no feature."""


def calls_of_features() -> dict[str, tuple[Feature[Any], Callable[..., Any]]]:
    """Return each call of a system that needs a feature, with that feature, as the source says."""
    found: dict[str, tuple[Feature[Any], Callable[..., Any]]] = {}
    for name, call in vars(SessionSystem).items():
        if inspect.isfunction(call) and not name.startswith("_"):
            for feature in re.findall(r"self\._calls\((\w+)\)", inspect.getsource(call)):
                found[name] = (getattr(features_module, feature), call)
    return found


CALLS: Final = calls_of_features()


def test_each_feature_has_its_calls() -> None:
    assert Counter(feature.name for feature, _ in CALLS.values()) == {
        "sync": 14,
        "expiry": 5,
        "persistence": 8,
        "tracking": 10,
    }
    assert {feature.name for feature, _ in CALLS.values()} == {feature.name for feature in FEATURES}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_of_what_is_off_says_how_to_have_it(system: SessionSystem, name: str) -> None:
    feature, call = CALLS[name]
    needed = [one for one in inspect.signature(call).parameters.values() if one.default is one.empty]
    given = ["nonsense" for one in needed[1:] if one.kind is one.POSITIONAL_OR_KEYWORD]
    with pytest.raises(FeatureNotEnabled, match=f"enable_{feature.name}"):
        await call(system, *given)


async def test_a_call_of_a_feature_is_off_again_when_the_system_has_stopped() -> None:
    system = SessionSystem(make_config(enable_sync=True, enable_cleanup=False, partitions=4))
    async with system:
        assert await system.suggest_links() == []
    with pytest.raises(FeatureNotEnabled, match="enable_sync=True"):
        await system.suggest_links()


def test_each_switch_is_a_features() -> None:
    switches = {one.name for one in fields(SessionSystemConfig) if one.name.startswith("enable_")}
    assert switches - _PARTS_OF_ALL == {f"enable_{feature.name}" for feature in FEATURES}
    for feature in FEATURES:
        config = make_config(**{f"enable_{feature.name}": True})
        assert [other.name for other in FEATURES if other.is_on(config)] == [feature.name]


def test_all_features_are_those_with_a_worker_and_a_section() -> None:
    on = [feature for feature in FEATURES if feature.is_on(make_config(enable_all_features=True))]
    assert on == list(FEATURES)
    assert {feature.worker for feature in on} <= WORKERS.keys()
    sections = [inspect.signature(feature.make_calls).return_annotation for feature in on]
    assert sections == ["Sync", "Persistence", "Tracking", "Expiry"], "each of which is imported when it is made"
