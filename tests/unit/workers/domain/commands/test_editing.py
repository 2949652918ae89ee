"""Changes to data, metadata and profile: conflicts, limits, sharing."""

from datetime import timedelta

import pytest
from pydantic import JsonValue

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import AnyCommand, CreateSession, SetVisibility, ShareSession, UpdateSession
from agentbus.contracts.errors import AccessDenied, EditConflict, LimitExceeded
from agentbus.contracts.events import DataSet, MetadataSet, ProfileChanged
from agentbus.contracts.profile import MAX_TAGS, Permission, Profile, ProfileChanges, SessionType, Visibility
from agentbus.contracts.session import SessionStatus
from agentbus.workers.domain.access import Right, right_of
from agentbus.workers.domain.checks.limits import MAX_SHARES
from agentbus.workers.domain.commands.editing import changed_fields, changed_profile, shared_profile
from agentbus.workers.domain.decide import decide
from tests.harness.conversations import NOW
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh

CURRENT: dict[str, JsonValue] = {"a": 1, "b": {"deep": [1, 2]}, "none": None}
Fields = tuple[dict[str, JsonValue], tuple[str, ...]]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        (FieldChanges(values={"a": 2, "c": 3}), ({"a": 2, "c": 3}, ())),
        (FieldChanges(remove=("a", "not there")), ({}, ("a",))),
        (FieldChanges(values={"a": 2}, remove=("a",)), ({}, ("a",))),
        (FieldChanges(values={"new": 1}, remove=("new",)), ({}, ())),
        (FieldChanges(values={"a": 2}, replace=True), ({"a": 2}, ("b", "none"))),
        (FieldChanges(replace=True), ({}, ("a", "b", "none"))),
        (FieldChanges(values={"a": 2}, remove=("a",), replace=True), ({}, ("a", "b", "none"))),
        (FieldChanges(values={"a": 2}, expected={"a": 1}), ({"a": 2}, ())),
        (FieldChanges(values={"a": 2}, expected={"b": {"deep": [1, 2]}, "none": None}), ({"a": 2}, ())),
        (FieldChanges(values={"c": 3}, absent=("c", "d")), ({"c": 3}, ())),
        (FieldChanges(expected={"a": 1}), ({}, ())),
    ],
)
def test_fields_are_set_taken_out_and_replaced(changes: FieldChanges, outcome: Fields) -> None:
    assert changed_fields("data", CURRENT, changes) == outcome


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        (FieldChanges(expected={"a": 2}), "a"),
        (FieldChanges(expected={"a": True}), "a"),
        (FieldChanges(expected={"b": {"deep": [True, 2]}}), "b"),
        (FieldChanges(expected={"b": {"deep": [1]}}), "b"),
        (FieldChanges(expected={"missing": None}), "missing"),
        (FieldChanges(expected={"none": 0}), "none"),
        (FieldChanges(absent=("none",)), "none"),
        (FieldChanges(expected={"z": 1, "a": 1}, absent=("b", "c")), "b, z"),
    ],
)
def test_a_conflict_names_the_keys_that_differ(changes: FieldChanges, differing: str) -> None:
    with pytest.raises(EditConflict, match=f"metadata was changed meanwhile: {differing};"):
        changed_fields("metadata", CURRENT, changes)


@pytest.mark.parametrize("what", ["data", "metadata"])
def test_of_two_who_saw_the_same_the_second_is_told(what: str) -> None:
    def add_one(seen: int) -> AnyCommand:
        return UpdateSession.model_validate({what: {"values": {"count": seen + 1}, "expected": {"count": seen}}})

    state = after(LIVE, UpdateSession.model_validate({what: {"values": {"count": 0}, "absent": ["count"]}}))
    state = after(state, add_one(0))
    with pytest.raises(EditConflict, match=f"{what} .* count;"):
        decide(state, fresh(add_one(0)), NOW)
    assert getattr(after(state, add_one(1)), what) == {"count": 2}


@pytest.mark.parametrize("what", ["data", "metadata"])
def test_fields_may_not_outgrow_the_head(what: str) -> None:
    state, big = LIVE, "x" * 250_000
    for number in range(4):
        state = after(state, UpdateSession.model_validate({what: {"values": {f"k{number}": big}}}))
    with pytest.raises(LimitExceeded, match=f"session's {what} would be about"):
        decide(state, fresh(UpdateSession.model_validate({what: {"values": {"k4": big}}})), NOW)
    instead = UpdateSession.model_validate({what: {"values": {"k4": big}, "remove": ["k0"]}})
    assert set(getattr(after(state, instead), what)) == {"k1", "k2", "k3", "k4"}


def test_an_update_tells_what_changed_and_nothing_else() -> None:
    state = after(LIVE, UpdateSession(data=FieldChanges(values={"a": 1, "b": 2})))
    both = UpdateSession(
        data=FieldChanges(values={"c": 3}, replace=True),
        metadata=FieldChanges(values={"m": 1}),
        profile=ProfileChanges(tags=("x",)),
    )
    data, metadata, profile = decide(state, fresh(both), NOW)
    assert isinstance(data, DataSet)
    assert (data.values, data.removed) == ({"c": 3}, ("a", "b"))
    assert isinstance(metadata, MetadataSet)
    assert metadata.values == {"m": 1}
    assert isinstance(profile, ProfileChanged)
    assert profile.profile == state.profile.model_copy(update={"tags": ("x",)})
    assert decide(state, fresh(UpdateSession()), NOW) == ()


FULL = Profile(
    owner="ada",
    agent_id="agent",
    session_type=SessionType.GROUP,
    parent_id=LIVE.session_id,
    ai_model="model",
    template="template",
    tags=("one", "two"),
    visibility=Visibility.SHARED,
    shares={"bob": Permission.READ},
    expires_at=NOW + timedelta(hours=1),
    lifetime=3600,
    idle_timeout=60,
    max_history=10,
)


@pytest.mark.parametrize(
    "changes",
    [
        ProfileChanges(agent_id="other"),
        ProfileChanges(session_type=SessionType.AGENT),
        ProfileChanges(ai_model="other", template="other"),
        ProfileChanges(tags=()),
        ProfileChanges(expires_at=NOW),
        ProfileChanges(lifetime=1.5, idle_timeout=2.5, max_history=3),
        ProfileChanges(),
    ],
)
def test_a_profile_changes_in_the_given_fields_alone(changes: ProfileChanges) -> None:
    given = {name: getattr(changes, name) for name in changes.model_fields_set}
    assert changed_profile(FULL, changes) == FULL.model_copy(update=given)
    travelled = ProfileChanges.model_validate_json(changes.model_dump_json())
    assert changed_profile(FULL, travelled) == changed_profile(FULL, changes)


def test_a_profile_loses_what_is_cleared() -> None:
    cleared = changed_profile(FULL, ProfileChanges(agent_id="other", clear=("agent_id", "expires_at", "parent_id")))
    assert cleared == FULL.model_copy(update={"agent_id": None, "expires_at": None, "parent_id": None})


def test_a_profile_that_stays_as_it_is_causes_nothing() -> None:
    state = after(EMPTY, CreateSession(profile=FULL))
    assert decide(state, fresh(UpdateSession(profile=ProfileChanges(tags=("one", "two")))), NOW) == ()


def share(user: str, permission: Permission | None, actor: str | None = "ada") -> ShareSession:
    return ShareSession(user=user, permission=permission, actor=actor)


def test_sharing_gives_a_right_and_revoking_takes_it() -> None:
    state = after(LIVE, share("bob", Permission.READ))
    assert (right_of(state.profile, "bob"), state.profile.visibility) == (Right.READ, Visibility.SHARED)
    state = after(state, share("bob", Permission.WRITE))
    state = after(state, share("eve", Permission.READ))
    assert state.profile.shares == {"bob": Permission.WRITE, "eve": Permission.READ}
    state = after(state, share("eve", None))
    assert (right_of(state.profile, "eve"), state.profile.visibility) == (Right.NONE, Visibility.SHARED)
    state = after(state, share("bob", None))
    assert (state.profile.shares, state.profile.visibility) == ({}, Visibility.PRIVATE)
    assert state.profile == LIVE.profile


def test_what_was_not_shared_can_be_revoked() -> None:
    assert after(LIVE, share("bob", None)).profile == LIVE.profile


def test_sharing_changes_nothing_about_a_public_session() -> None:
    public = after(LIVE, SetVisibility(visibility=Visibility.PUBLIC))
    assert right_of(public.profile, "eve") is Right.READ
    shared = after(public, share("bob", Permission.WRITE))
    assert (shared.profile.visibility, right_of(shared.profile, "bob")) == (Visibility.PUBLIC, Right.WRITE)
    revoked = after(shared, share("bob", None))
    assert (revoked.profile.visibility, right_of(revoked.profile, "bob")) == (Visibility.PUBLIC, Right.READ)
    hidden = after(revoked, SetVisibility(visibility=Visibility.PRIVATE))
    assert right_of(hidden.profile, "eve") is Right.NONE


def test_who_it_is_shared_with_can_not_share_it_further() -> None:
    state = after(LIVE, share("bob", Permission.WRITE))
    with pytest.raises(AccessDenied):
        decide(state, fresh(share("eve", Permission.READ, actor="bob")), NOW)
    with pytest.raises(AccessDenied):
        decide(state, fresh(share("bob", None, actor="bob")), NOW)


def test_a_session_is_shared_with_no_more_users_than_a_profile_holds() -> None:
    """One more would make an event that nobody could read back."""
    full = Profile(owner="ada", shares={f"user{number}": Permission.READ for number in range(MAX_SHARES)})
    with pytest.raises(LimitExceeded, match="1000 users"):
        shared_profile(full, "one more", Permission.READ)
    changed = shared_profile(full, "user0", Permission.WRITE)
    assert Profile.model_validate_json(changed.model_dump_json()) == changed
    assert len(shared_profile(full, "user0", None).shares) == MAX_SHARES - 1


BEFORE = Profile(agent_id="a", ai_model="m", tags=("red", "blue"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (ProfileChanges(agent_id="c", seen=Profile(agent_id="b")), "agent_id"),
        (ProfileChanges(clear=("ai_model",), seen=Profile(ai_model="n")), "ai_model"),
        (ProfileChanges(expires_at=NOW, seen=Profile(expires_at=NOW)), "expires_at"),
        (ProfileChanges(tags=("blue",), seen=Profile(tags=("blue", "red"))), "tags"),
        (ProfileChanges(agent_id="a", ai_model="o", clear=("lifetime",), seen=Profile()), "agent_id, ai_model"),
    ],
)
def test_a_profile_that_is_not_what_was_seen_is_a_conflict(changes: ProfileChanges, named: str) -> None:
    with pytest.raises(EditConflict, match=f"meanwhile: {named};"):
        changed_profile(BEFORE, changes)


def test_what_is_not_changed_need_not_be_what_was_seen() -> None:
    changes = ProfileChanges(ai_model="n", add_tags=("green",), seen=Profile(ai_model="m", agent_id="other"))

    after_it = changed_profile(BEFORE, changes)

    assert (after_it.agent_id, after_it.ai_model, after_it.tags) == ("a", "n", ("red", "blue", "green"))


def test_tags_are_added_once_and_taken_out() -> None:
    changes = ProfileChanges(add_tags=("red", "green"), remove_tags=("blue", "grey"))
    assert changed_profile(BEFORE, changes).tags == ("red", "green")
    full = Profile(tags=tuple(f"tag-{number}" for number in range(MAX_TAGS)))
    assert changed_profile(full, ProfileChanges(add_tags=("new",), remove_tags=("tag-0",))).tags[-1] == "new"
    with pytest.raises(LimitExceeded, match=str(MAX_TAGS)):
        changed_profile(full, ProfileChanges(add_tags=("new",)))


@pytest.mark.parametrize(("seen", "conflict"), [("active", False), ("idle", False), ("suspended", True)])
def test_a_status_that_is_not_what_was_seen_is_a_conflict(seen: str, conflict: bool) -> None:
    command = UpdateSession(status=SessionStatus.CLOSED, seen_status=SessionStatus(seen))
    if conflict:
        with pytest.raises(EditConflict, match="it is active, no longer suspended"):
            decide(LIVE, fresh(command), NOW)
    else:
        assert decide(LIVE, fresh(command), NOW)
