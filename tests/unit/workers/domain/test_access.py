"""Who may do what: rights by owner, shares and visibility; and refusals that do not tell what is there."""

from datetime import timedelta

import pytest

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    AmendCopy,
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    ExtendSession,
    LinkIdentity,
    React,
    RefreshSession,
    ReportReply,
    ResetSession,
    SendReply,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.errors import AccessDenied, ConversationBlocked, SessionNotFound
from agentbus.contracts.events import SessionBlocked, SessionStarted
from agentbus.contracts.ids import InputId, SessionId, session_id_for
from agentbus.contracts.profile import Permission, Profile, ProfileChanges, Visibility
from agentbus.contracts.replies import ReplyOutcome, reply_id_for
from agentbus.contracts.session import FailurePolicy, SessionState, SessionStatus
from agentbus.workers.domain.access import Right, may, right_of
from agentbus.workers.domain.admission.blocking import block
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import evolve
from tests.harness.conversations import CONVERSATION, NOW, address, given, message
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh, said

SHARED = Profile(
    owner="ada",
    shares={"reader": Permission.READ, "writer": Permission.WRITE, "both": Permission.WRITE},
    visibility=Visibility.SHARED,
)
PUBLIC = SHARED.model_copy(update={"visibility": Visibility.PUBLIC})
PRIVATE = Profile(owner="ada")
LATER = NOW + timedelta(hours=1)

FOR_WRITERS: list[AnyCommand] = [
    AppendMessage(message=said()),
    EditMessage(target="k", text="new"),
    DeleteMessage(target="k"),
    SetData(values={"a": 1}),
    SetMetadata(values={"a": 1}),
    UpdateSession(data=FieldChanges(values={"a": 1})),
    RefreshSession(),
    SendReply(message=said()),
    React(message_id="5", where=address(), reaction="👍"),
    TrimHistory(before=2),
    ChangeState(status=SessionStatus.SUSPENDED),
    UpdateSession(status=SessionStatus.SUSPENDED),
    ResetSession(),
]
FOR_OWNERS: list[AnyCommand] = [
    CreateSession(),
    CreateSession(keep_live=True),
    DeleteSession(),
    ShareSession(user="eve", permission=Permission.READ),
    SetVisibility(visibility=Visibility.PUBLIC),
    AmendCopy(source=session_id_for(CONVERSATION, 9), target="k"),
    UnblockSession(),
    ReportReply(reply=reply_id_for(session_id_for(CONVERSATION, 1), 3), outcome=ReplyOutcome.SENT),
    ApplyDeadlines(),
    CloseSession(),
    *(ChangeState(status=status) for status in (SessionStatus.ARCHIVED, SessionStatus.EXPIRED, SessionStatus.CLOSED)),
    UpdateSession(status=SessionStatus.ARCHIVED),
    ExtendSession(seconds=60),  # it has no end
    ExtendSession(until=LATER),
    UpdateSession(profile=ProfileChanges(expires_at=LATER)),
    UpdateSession(profile=ProfileChanges(lifetime=60)),
]
COMMANDS = FOR_WRITERS + FOR_OWNERS


def of(profile: Profile) -> SessionState:
    return after(EMPTY, CreateSession(address=address(), profile=profile))


def by(command: AnyCommand, actor: str | None) -> AnyCommand:
    return command.model_copy(update={"actor": actor})


def kind_of(command: AnyCommand) -> str:
    return command.kind


def refusal_of(state: SessionState, command: AnyCommand) -> str:
    with pytest.raises(AccessDenied) as caught:
        decide(state, fresh(command), NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    ("profile", "user", "right"),
    [
        (PRIVATE, "ada", Right.OWN),
        (PRIVATE, "eve", Right.NONE),
        (SHARED, "reader", Right.READ),
        (SHARED, "writer", Right.WRITE),
        (SHARED, "eve", Right.NONE),
        (PUBLIC, "eve", Right.READ),
        (PUBLIC, "reader", Right.READ),
        (PUBLIC, "writer", Right.WRITE),
        (PUBLIC, "ada", Right.OWN),
        (SHARED.model_copy(update={"visibility": Visibility.PRIVATE}), "writer", Right.WRITE),
        (Profile(owner="ada", shares={"ada": Permission.READ}), "ada", Right.OWN),
        (Profile(), "eve", Right.NONE),
    ],
)
def test_rights_come_from_owner_shares_and_visibility(profile: Profile, user: str, right: Right) -> None:
    assert right_of(profile, user) is right
    state = of(profile)
    assert [may(state, user, one) for one in Right] == [one <= right for one in Right]


def test_agentbus_itself_has_every_right() -> None:
    assert all(may(of(PRIVATE), None, right) for right in Right)


@pytest.mark.parametrize("command", COMMANDS, ids=kind_of)
@pytest.mark.parametrize("actor", ["ada", None])
def test_the_owner_and_agentbus_itself_may_do_everything(command: AnyCommand, actor: str | None) -> None:
    decide(of(SHARED), fresh(by(command, actor)), NOW)


@pytest.mark.parametrize("profile", [SHARED, PUBLIC], ids=["shared", "public"])
@pytest.mark.parametrize("command", FOR_WRITERS, ids=kind_of)
def test_who_it_is_shared_with_for_writing_may_change_it(command: AnyCommand, profile: Profile) -> None:
    assert decide(of(profile), fresh(by(command, "writer")), NOW)


@pytest.mark.parametrize(
    "command",
    [
        ExtendSession(seconds=60),
        ExtendSession(until=LATER),
        UpdateSession(profile=ProfileChanges(expires_at=LATER)),
        UpdateSession(profile=ProfileChanges(clear=("expires_at",))),
    ],
)
def test_a_writer_may_put_off_an_end_and_not_bring_it_nearer(command: AnyCommand) -> None:
    ends_sooner = of(SHARED.model_copy(update={"expires_at": NOW + timedelta(minutes=30)}))
    assert decide(ends_sooner, fresh(by(command, "writer")), NOW)
    ends_later = of(SHARED.model_copy(update={"expires_at": NOW + timedelta(hours=2)}))
    if LATER in (getattr(command, "until", None), getattr(getattr(command, "profile", None), "expires_at", None)):
        refusal_of(ends_later, by(command, "writer"))


@pytest.mark.parametrize("command", FOR_OWNERS, ids=kind_of)
def test_who_it_is_shared_with_for_writing_may_not_decide_about_it(command: AnyCommand) -> None:
    refusal_of(of(SHARED), by(command, "writer"))


@pytest.mark.parametrize("command", COMMANDS, ids=kind_of)
@pytest.mark.parametrize(
    ("profile", "actor"), [(SHARED, "reader"), (PUBLIC, "reader"), (PUBLIC, "eve"), (SHARED, "eve"), (PRIVATE, "eve")]
)
def test_readers_and_strangers_may_change_nothing(command: AnyCommand, profile: Profile, actor: str) -> None:
    refusal_of(of(profile), by(command, actor))


@pytest.mark.parametrize("command", [one for one in COMMANDS if not isinstance(one, CreateSession)], ids=kind_of)
def test_what_is_refused_and_what_is_missing_give_the_same_words(command: AnyCommand) -> None:
    asked = by(command, "eve")
    live = of(PRIVATE)
    later = asked.model_copy(update={"session_id": session_id_for(CONVERSATION, 9)})
    words = {
        refusal_of(live, asked),
        refusal_of(live, later),
        refusal_of(EMPTY, asked),
        refusal_of(after(live, CloseSession()), asked),
        refusal_of(after(live, DeleteSession()), asked),
    }
    assert words == {"no such session, or no access to it"}


def test_a_deleted_session_is_missing_for_its_owner_too() -> None:
    words = refusal_of(after(of(PRIVATE), DeleteSession()), SetData(actor="ada", values={"a": 1}))
    assert words == refusal_of(EMPTY, SetData(actor="ada", values={"a": 1}))


def test_what_is_done_to_the_conversation_outlives_its_session() -> None:
    linked = after(of(SHARED), LinkIdentity(identity="ann"))
    deleted = after(linked, DeleteSession())
    assert after(deleted, UnlinkIdentity(identity="ann", actor="ada")).identity is None
    refusal_of(deleted, UnlinkIdentity(identity="ann", actor="writer"))
    refusal_of(deleted, LinkIdentity(identity="bob", actor="ada"))
    refusal_of(deleted, ResetSession(actor="ada"))


def test_a_stranger_is_not_told_that_a_conversation_is_blocked() -> None:
    live = of(PRIVATE)
    (blocked,) = block(live, InputId("bad"), "future_timestamp", NOW, default=FailurePolicy.BLOCK)
    assert isinstance(blocked, SessionBlocked)
    state = evolve(live, blocked)
    refusal_of(state, SetData(actor="eve", values={"a": 1}))
    with pytest.raises(ConversationBlocked):
        decide(state, fresh(SetData(actor="ada", values={"a": 1})), NOW)


def test_the_owner_is_told_that_there_is_no_such_session() -> None:
    later = SetData(actor="ada", session_id=session_id_for(CONVERSATION, 9), values={"a": 1})
    with pytest.raises(SessionNotFound):
        decide(of(PRIVATE), fresh(later), NOW)


@pytest.mark.parametrize("keep_live", [False, True])
def test_a_live_session_is_superseded_or_kept_for_its_owner_alone(keep_live: bool) -> None:
    refusal_of(of(PUBLIC), CreateSession(actor="eve", keep_live=keep_live))
    events = decide(of(PUBLIC), fresh(CreateSession(actor="ada", keep_live=keep_live)), NOW)
    assert bool(events) is not keep_live


@pytest.mark.parametrize("ended", [CloseSession(), DeleteSession()], ids=kind_of)
def test_anyone_may_create_a_session_where_none_is_live(ended: AnyCommand) -> None:
    for state in (EMPTY, after(of(PRIVATE), ended)):
        began = after(state, CreateSession(actor="eve"))
        assert (began.profile.owner, began.is_live) == ("eve", True)


def test_nobody_creates_a_session_in_anothers_name() -> None:
    spoofed = CreateSession(actor="eve", profile=Profile(owner="ada"))
    for state in (EMPTY, LIVE, after(LIVE, CloseSession())):
        refusal_of(state, spoofed)
    assert after(EMPTY, by(spoofed, "ada")).profile.owner == "ada"
    assert after(EMPTY, by(spoofed, None)).profile.owner == "ada"


def test_a_created_session_belongs_to_the_actor_else_to_the_addresss_user() -> None:
    (theirs,) = decide(EMPTY, given(CreateSession(actor="eve", address=address(user="ada"))), NOW)
    (addressed,) = decide(EMPTY, given(CreateSession(address=address(user="ada"))), NOW)
    (nobodys,) = decide(EMPTY, given(CreateSession()), NOW)
    owners = [one.profile.owner for one in (theirs, addressed, nobodys) if isinstance(one, SessionStarted)]
    assert owners == ["eve", "ada", None]


def test_a_session_without_owner_is_for_agentbus_itself_alone() -> None:
    state = after(EMPTY, CreateSession())
    refusal_of(state, SetData(actor="eve", values={"a": 1}))
    assert decide(state, fresh(SetData(values={"a": 1})), NOW)


def test_messages_from_a_channel_need_no_right() -> None:
    assert after(of(PRIVATE), message(1, user="eve")).message_count == 1


def test_another_conversations_session_is_out_of_reach() -> None:
    """The partition key says which conversation is asked; a session id can't smuggle in another one."""
    foreign = SessionId(f"{'b' * 26}.1")
    with pytest.raises(SessionNotFound):
        decide(of(PRIVATE), fresh(DeleteSession(session_id=foreign)), NOW)
    with pytest.raises(AccessDenied):
        decide(of(PRIVATE), fresh(DeleteSession(actor="ada", session_id=foreign)), NOW)


def test_an_earlier_session_is_deleted_for_who_owned_it_whoever_owns_this_one() -> None:
    earlier = of(PRIVATE)
    others = PRIVATE.model_copy(update={"owner": "bob"})
    later = earlier.model_copy(update={"generation": earlier.generation + 1, "profile": others})
    heads = {earlier.session_id: earlier}
    asked = {user: fresh(DeleteSession(actor=user, session_id=earlier.session_id)) for user in ("ada", "bob", None)}
    for user, known in (("bob", heads), ("ada", {})):
        with pytest.raises(AccessDenied):
            decide(later, asked[user], NOW, (), known)
    assert decide(later, asked["ada"], NOW, (), heads)
    assert decide(later, asked[None], NOW, (), heads)
