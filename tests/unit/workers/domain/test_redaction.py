"""What stays of commits and heads of an erased user."""

from dataclasses import replace

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import Announced
from agentbus.contracts.events import (
    Commit,
    ContextMerged,
    ConversationErased,
    DataSet,
    MessageAppended,
    MessageEdited,
    ReactionChanged,
    ReplyFailed,
    ReplyRequested,
    ReplySent,
    SessionStarted,
    StartReason,
)
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, session_id_for
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.operators import Operator
from agentbus.contracts.profile import Permission, Profile
from agentbus.contracts.replies import OutgoingReply, reply_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import ConflictStrategy, Entry, TurnedDown
from agentbus.workers.domain.pseudonyms import renamed_json
from agentbus.workers.domain.redaction import (
    ERASED_PREFIX,
    REACTION,
    Subject,
    authors_of,
    digest_input,
    emptied,
    people_of,
    scrub,
    scrub_head,
    tombstone,
)
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, an_address

CONVERSATION = a_conversation("shared")
SESSION = session_id_for(CONVERSATION, 1)
ADA, BOB, NOBODY = "ada-4711", "bob-0815", "erased-abc"
SUBJECT = Subject(pseudonyms={ADA: NOBODY})


def common(sequence: int, cause: str = "cause", **more: object) -> dict[str, object]:
    return {"session_id": SESSION, "sequence": sequence, "at": NOON, "cause": InputId(cause), **more}


def said(
    sequence: int,
    user: str,
    text: str,
    *,
    role: Role = Role.USER,
    conversation: ConversationId = CONVERSATION,
    actor: str | None = None,
    cause: str = "cause",
    generation: int = 1,
) -> MessageAppended:
    return MessageAppended(
        session_id=session_id_for(conversation, generation),
        sequence=sequence,
        at=NOON,
        cause=InputId(cause),
        actor=actor,
        message=SessionMessage(
            key=MessageKey(f"key-{sequence}"),
            message_id=str(sequence),
            role=role,
            address=an_address(user=user),
            author=user.title(),
            sent_at=NOON,
            content=TextContent(text=text, reply_to="1"),
        ),
    )


def started(owner: str, **more: object) -> SessionStarted:
    profile = Profile(owner=owner, shares={BOB: Permission.WRITE, ADA: Permission.READ})
    return SessionStarted(
        **common(1),
        reason=StartReason.MESSAGE,
        address=an_address(user=owner),
        profile=profile,
        data={"who": ADA, "nested": [{ADA: 1}], "text": f"tell {ADA}"},
        **more,
    )


def committed(*events: object, inputs: tuple[str, ...] = ("input-1",)) -> Commit:
    return a_commit(CONVERSATION, 1, inputs=inputs, events=events)  # type: ignore[arg-type]  # events they are


def dump(model: Announced) -> str:
    return model.model_dump_json()


def test_the_digest_of_an_input_tells_nothing_and_is_made_once() -> None:
    digest = digest_input(InputId(f"{ADA}/1"))
    assert digest.startswith(ERASED_PREFIX)
    assert ADA not in digest
    assert digest_input(digest) == digest
    assert digest_input(InputId("other")) != digest


def test_the_users_messages_keep_their_place_without_text_and_author() -> None:
    commit = committed(said(1, ADA, "my secret"), said(2, BOB, "hello"))
    after = scrub(commit, SUBJECT)
    mine, others = after.events
    assert isinstance(mine, MessageAppended)
    assert mine.message.content == TextContent()
    assert mine.message.author is None
    assert mine.message.address == an_address(user=NOBODY)
    assert (mine.sequence, mine.message.key, mine.at) == (1, MessageKey("key-1"), NOON)
    assert others == commit.events[1]
    assert scrub(after, SUBJECT) == after


def test_what_was_answered_to_the_user_goes_too_what_was_answered_to_others_stays() -> None:
    commit = committed(
        said(1, ADA, "you said: my secret", role=Role.ASSISTANT), said(2, BOB, "yes", role=Role.ASSISTANT)
    )
    after = scrub(commit, SUBJECT)
    assert "secret" not in dump(after)
    assert after.events[1] == commit.events[1]


def test_a_message_given_for_somebody_else_at_the_users_address_is_not_theirs() -> None:
    commit = committed(said(1, ADA, "I am Bob", actor=BOB))
    (event,) = scrub(commit, SUBJECT).events
    assert isinstance(event, MessageAppended)
    assert event.message.content == TextContent(text="I am Bob", reply_to="1")
    assert ADA not in dump(event)
    assert authors_of(commit) == {BOB}


def test_edits_of_the_users_messages_and_their_reactions_say_nothing() -> None:
    edit = MessageEdited(**common(1), target=MessageKey("theirs"), text="secret")
    other = MessageEdited(**common(2), target=MessageKey("others"), text="fine")
    reaction = ReactionChanged(**common(3), target=MessageKey("others"), user=ADA, reaction=":mine:")
    after = scrub(committed(edit, other, reaction), replace(SUBJECT, keys=frozenset({MessageKey("theirs")})))
    assert [event.text for event in after.events if isinstance(event, MessageEdited)] == ["", "fine"]
    assert isinstance(after.events[2], ReactionChanged)
    assert (after.events[2].user, after.events[2].reaction) == (NOBODY, REACTION)


def test_ids_become_pseudonyms_wherever_they_are_values_or_keys() -> None:
    (event,) = scrub(committed(started(BOB)), SUBJECT).events
    assert isinstance(event, SessionStarted)
    assert event.data == {"who": NOBODY, "nested": [{NOBODY: 1}], "text": f"tell {ADA}"}, "others' words stay"
    assert event.profile.shares == {BOB: Permission.WRITE, NOBODY: Permission.READ}
    (own,) = scrub(committed(started(ADA)), replace(SUBJECT, owns=True)).events
    assert isinstance(own, SessionStarted)
    assert (own.data, own.profile.owner) == ({}, NOBODY)
    assert ADA not in dump(own)


def test_an_id_that_is_a_word_of_ours_leaves_the_contract_readable() -> None:
    odd = Subject(pseudonyms=dict.fromkeys(("telegram", "user", "message_appended", "text", "active", "per"), NOBODY))
    commit = committed(said(1, "user", "text"), started("telegram"))
    after = scrub(commit, odd)
    assert Commit.model_validate_json(after.model_dump_json()) == after
    head = a_head(CONVERSATION, address=Address(platform=Platform.TELEGRAM, chat="c", user="active"))
    scrubbed = scrub_head(head, odd)
    assert SessionState.model_validate_json(scrubbed.model_dump_json()) == scrubbed
    assert (scrubbed.status, scrubbed.address and scrubbed.address.user) == (SessionStatus.ACTIVE, NOBODY)


def test_inputs_that_hold_an_id_become_digests_others_stay() -> None:
    commit = committed(said(1, ADA, "x", cause=f"{ADA}:1"), inputs=(f"{ADA}:1", "plain"))
    after = scrub(commit, SUBJECT)
    assert after.inputs == (digest_input(InputId(f"{ADA}:1")), "plain")
    assert after.events[0].cause == after.inputs[0]
    assert ADA not in dump(after)


def test_pointers_into_data_are_renamed_step_by_step() -> None:
    stamp = next_stamp(None, NOON, "web", CONVERSATION)
    event = DataSet(**common(1), values={ADA: {"a": 1}}, stamp=stamp, bases={f"/data/{ADA}/a": stamp})
    (after,) = scrub(committed(event), SUBJECT).events
    assert isinstance(after, DataSet)
    assert (after.values, dict(after.bases)) == ({NOBODY: {"a": 1}}, {f"/data/{NOBODY}/a": stamp})
    head = a_head(CONVERSATION, data={ADA: {"a": 1}}).model_copy(update={"stamps": {f"/data/{ADA}/a": stamp}})
    changed = scrub_head(head, SUBJECT)
    assert (changed.data, changed.stamps) == ({NOBODY: {"a": 1}}, {f"/data/{NOBODY}/a": stamp})


def test_what_was_copied_from_an_erased_conversation_goes_too() -> None:
    theirs = a_conversation("theirs")
    ours, copied = next_stamp(None, NOON, "web", CONVERSATION), next_stamp(None, NOON, "web", theirs)
    subject = replace(SUBJECT, conversations=frozenset({theirs}))
    head = a_head(CONVERSATION, data={"kept": 1, "copied": {"a/b": "secret", "c": 2}})
    head = head.model_copy(
        update={
            "stamps": {"/data/kept": ours, "/data/copied/a~1b": copied, "/data/copied/c": ours},
            "turned_down": (TurnedDown(field="/data/x", stamp=copied), TurnedDown(field="/data/y", stamp=ours)),
        }
    )
    after = scrub_head(head, subject)
    assert [one.field for one in after.turned_down] == ["/data/y"]
    assert scrub_head(head, replace(subject, owns=True)).turned_down == ()
    assert tombstone(head).turned_down == ()
    assert after.data == {"kept": 1, "copied": {"c": 2}}
    assert after.stamps.keys() == {"/data/kept", "/data/copied/c"}
    merged = ContextMerged(
        **common(1),
        source=session_id_for(theirs, 1),
        strategy=ConflictStrategy.MERGE,
        applied=(Entry(field="/data/copied", value="secret", stamp=copied),),
    )
    message = said(2, BOB, "a secret copied").model_copy(update={"source": session_id_for(theirs, 1)})
    assert "secret" not in dump(scrub(committed(merged, message), subject))


def test_a_head_whose_inputs_changed_is_asked_by_both_forms_from_then_on() -> None:
    head = a_head(CONVERSATION, address=an_address(user=BOB))
    assert scrub_head(head, SUBJECT) == head
    named = head.model_copy(update={"recent_inputs": (f"{ADA}:1",), "blocked_by": f"{ADA}:2"})
    after = scrub_head(named, SUBJECT)
    assert after.erased
    assert ADA not in dump(after)
    assert scrub_head(head, SUBJECT, digested=True).erased
    assert scrub_head(after, SUBJECT) == after


def test_of_an_erased_conversation_versions_and_digests_stay() -> None:
    erased = ConversationErased(**common(3, actor=ADA, identity=ADA))
    later = said(1, BOB, "the next session's", generation=2)
    commit = committed(started(ADA), said(2, ADA, "secret"), erased, later, inputs=("a", "b"))
    after = emptied(commit, 1)
    assert [event.kind for event in after.events] == ["conversation_erased", "message_appended"]
    assert after.inputs == (digest_input(InputId("a")), digest_input(InputId("b")))
    assert (after.version, after.at) == (commit.version, commit.at)
    assert ADA not in dump(after)
    assert emptied(after, 1) == after


def test_a_tombstone_names_nobody() -> None:
    head = a_head(CONVERSATION, address=an_address(user=ADA), data={"a": ADA})
    head = head.model_copy(
        update={
            "profile": Profile(owner=ADA, tags=("vip",)),
            "identity": ADA,
            "recent_inputs": (f"{ADA}:1",),
            "blocked_by": f"{ADA}:2",
        }
    )
    stone = tombstone(head)
    assert ADA not in dump(stone)
    assert "vip" not in dump(stone)
    assert (stone.status, stone.erased, stone.version) == (SessionStatus.DELETED, True, head.version)
    assert tombstone(stone) == stone


def test_people_are_those_whom_a_commit_or_a_head_names() -> None:
    assert people_of(committed(started(ADA), said(2, BOB, "x", actor="carol"))) == {ADA, BOB, "carol"}
    head = a_head(CONVERSATION, address=an_address(user=ADA)).model_copy(update={"profile": Profile(owner=BOB)})
    assert people_of(head) == {ADA, BOB}


def test_json_is_renamed_whole_values_and_keys_only() -> None:
    value = {ADA: [ADA, f"{ADA}!", 1, None, {"x": ADA}], "y": True}
    assert renamed_json(value, {ADA: NOBODY}) == {NOBODY: [NOBODY, f"{ADA}!", 1, None, {"x": NOBODY}], "y": True}


def test_a_reply_names_nobody_any_more() -> None:
    reply = reply_id_for(SESSION, 2)
    asked = ReplyRequested(**common(2), message=MessageKey("k"), to=an_address(chat=ADA, user=ADA))
    asked = asked.model_copy(update={"reacts_to": f"wamid.{ADA}.0"})
    ours = ReactionChanged(**common(5), target=MessageKey("k"), user="assistant", reaction="👍")
    sent = ReplySent(**common(3), reply=reply, message_ids=(f"wamid.{ADA}.1", "2"))
    failed = ReplyFailed(**common(4), reply=reply, reason=f"no such user: {ADA}")
    commit = a_commit(CONVERSATION, events=(asked, sent, failed, ours))
    assert people_of(commit) == {ADA}
    after = scrub(commit, SUBJECT)
    assert ADA not in after.model_dump_json()
    assert isinstance(after.events[0], ReplyRequested)
    assert (after.events[0].to.user, after.events[0].to.chat) == (NOBODY, NOBODY)
    assert scrub(after, SUBJECT) == after
    theirs = asked.model_copy(update={"to": an_address(user=BOB), "reacts_to": "5"})
    others = a_commit(CONVERSATION, events=(theirs,))
    assert scrub(others, SUBJECT) is others


def test_a_head_keeps_no_name_of_a_platforms_that_holds_an_id_of_theirs() -> None:
    held = OutgoingReply(
        session_id=SESSION, sequence=2, version=1, at=NOON, platform=Platform.WHATSAPP, message_id=f"wamid.{ADA}"
    )
    head = a_head(CONVERSATION).model_copy(update={"replies": (held,)})
    after = scrub_head(head, SUBJECT)
    assert ADA not in after.model_dump_json()
    assert [one.reply_id for one in after.replies] == [held.reply_id]
    assert scrub_head(after, SUBJECT) == after
    assert tombstone(head).replies == ()


def test_an_operator_who_is_erased_is_named_no_more() -> None:
    stamp = next_stamp(None, NOON, None, CONVERSATION)
    by_ada = DataSet(**common(1), by=Operator(user=ADA), values={"step": 1}, stamp=stamp)
    commit = a_commit(CONVERSATION, events=(by_ada,))
    assert ADA in people_of(commit)
    scrubbed = scrub(commit, SUBJECT)
    assert scrubbed.events[0].by == Operator(user=NOBODY)
    assert ADA not in scrubbed.model_dump_json()
    erased = ConversationErased(**common(2), by=Operator(user=ADA))
    assert ADA not in emptied(a_commit(CONVERSATION, events=(erased,)), 1).model_dump_json()
