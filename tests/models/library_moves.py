"""Moves: one call each, with arguments drawn at random, for the library and for its model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any, Final, TypeVar

from agentbus.contracts.session import SessionStatus
from agentbus.sessions import SessionContext
from tests.models.library_model import Edit, Library, Where, conversation_at
from tests.models.library_state import LIVE, Policy, Rule, Said, Session

USERS: Final = ("ann", "bob")
STRANGER: Final = "eve"
"""Somebody who owns nothing, and with whom nothing is shared."""
FORGOTTEN: Final = "gil"
"""Somebody who is erased now and then. Nobody else speaks in their sessions, and they in nobody's: what is left of a
conversation of several is a matter of its own."""
CHATS: Final = ("c1", "c2", "c3")
TAGS: Final = ("red", "blue", "green")
T = TypeVar("T")

RULE_IDS: Final = ("r1", "r2")
TEMPLATES: Final = ("t1", "t2")
KEYS: Final = ("a", "b", "c")
NUMBERS: Final = ("n", "m")
"""Keys that hold numbers alone."""
FLAT: Final = ("b",)
"""Keys that hold no objects: with them, and with numbers, conflicts are key by key, as the model has them."""
VALUES: Final = (1, 2, "x", None, True, 1.5, [1], {"k": 1})
LEASE: Final = 86_400.0
"""Seconds by the store's own clock: no lock ends by itself."""
NOWHERE: Final = ("a" * 26 + ".1", "nonsense")
"""What names no session."""


@dataclass(frozen=True)
class Copy:
    """A copy of a session that somebody holds, and the session as it was then."""

    context: SessionContext
    read: Session


@dataclass
class Move:
    """A call: its name and arguments, as the model takes them."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    copy: Copy | None = None
    """The copy that it saves."""
    conversation: str = ""
    """Whose lock it is about."""

    def __str__(self) -> str:
        """Return it as somebody would write it."""
        shown = [*(_short(one) for one in self.args), *(f"{name}={_short(one)}" for name, one in self.kwargs.items())]
        return f"{self.name}({', '.join(shown)})"

    def expect(self, library: Library) -> Any:
        """Have the model carry it out."""
        return getattr(library, self.name)(*self.args, **self.kwargs)

    @property
    def sessions(self) -> set[str]:
        """The sessions that it names."""
        named = (*self.args, *self.kwargs.values())
        one_by_one = (one for value in named for one in (value if isinstance(value, list | tuple) else [value]))
        found = {one for one in one_by_one if isinstance(one, str)}
        return found | ({self.copy.read.session_id} if self.copy else set())


class Draw:
    """Draws arguments that make sense, most of the time, by what the model holds."""

    def __init__(
        self, random: Random, library: Library, copies: list[Copy], name: str, codes: Sequence[str] = ()
    ) -> None:
        self.random = random
        self.library = library
        self.copies = copies
        self.codes = codes
        """Claim codes as they are written, in the order in which they were given out."""
        self.name = name
        """Of this step: what ids are made of."""
        self.focus: Session | None = None
        """The session that all of the step is about."""

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        return self.random.choice(options)

    def session(self) -> Session | None:
        """Return a session, most often one that was used lately; None for one that never was."""
        if self.focus is not None:
            return self.focus
        found = list(self.library.held.sessions)
        if not found or self.chance(0.02):
            return None
        live = [one for one in found if one.is_live]
        if self.chance(0.25) and (linked := [one for one in live if one.identity]):
            return self.pick(linked)
        if live and self.chance(0.6):
            return self.pick(live)
        found.sort(key=lambda one: (one.last_activity, one.session_id))
        return self.pick(found[-6:] if self.chance(0.6) else found)

    def named(self) -> tuple[str, Session | None]:
        """Return a session's id, with the session."""
        found = self.session()
        return (found.session_id if found else self.pick(NOWHERE)), found

    def user(self, session: Session | None = None) -> str | None:
        """Return who does it: most often somebody who may."""
        if self.chance(0.4):
            return None
        if session and session.owner and self.chance(0.7):
            return session.owner
        return self.pick((*USERS, STRANGER))

    def owner(self, session: Session | None) -> str:
        """Return somebody, most often the owner."""
        return session.owner if session and session.owner and self.chance(0.85) else self.pick((*USERS, STRANGER))

    def values(self) -> dict[str, Any]:
        keys = self.random.sample(KEYS, self.random.randint(0, 2))
        return {key: self.pick(VALUES[:-1] if key in FLAT else VALUES) for key in keys}

    def said(self, session: Session | None = None) -> Said:
        """Return a message; now and then one that is there already."""
        there = [one for one in session.messages if one.id.startswith("m-")] if session else []
        if there and self.chance(0.15):
            return self.pick(there)
        return Said(f"m-{self.name}", f"text {self.name}", self.pick(("user", "assistant", "system")))

    def request(self) -> dict[str, str]:
        return {"request_id": f"r-{self.name}"}

    def by(self, session: Session | None, **more: Any) -> dict[str, Any]:
        """Return who does a call, and its id."""
        return {"user_id": self.user(session), "fence": self.fence(session), **self.request(), **more}

    def fence(self, session: Session | None) -> int | None:
        """Return the number of a lock that was once taken, most often none."""
        if session is None or self.chance(0.7):
            return None
        locks = self.library.held.conversations[session.session_id.partition(".")[0]].locks
        return self.random.randint(1, locks) if locks else None

    def attributes(self) -> dict[str, Any]:
        """Return something that a session is besides what it holds."""
        later = self.library.now + timedelta(seconds=self.pick((60, 7200)))
        return self.pick(
            (
                {"ai_model": self.pick((None, "small", "large"))},
                {"agent_id": self.pick((None, "helper", "critic"))},
                {"expires_at": self.pick((None, later))},
            )
        )

    def edit(self, read: Session | None = None) -> Edit:
        """Return changes to a copy."""
        values = self.values()
        others = [key for key in KEYS if key not in values]
        edit = Edit(
            data=values,
            remove=(self.pick(others),) if self.chance(0.2) else (),
            add={self.pick(NUMBERS): self.random.randint(1, 5)} if self.chance(0.4) else {},
            metadata=self.values() if self.chance(0.3) else {},
            messages=(self.said(read),) if self.chance(0.4) else (),
            add_tags=(self.pick(TAGS),) if self.chance(0.2) else (),
            remove_tags=(self.pick(TAGS),) if self.chance(0.1) else (),
            attributes=self.attributes() if self.chance(0.2) else {},
            status=self.pick(list(SessionStatus)[:6]) if self.chance(0.1) else None,
        )
        # A tag is not taken off and put on again: that is another order, which is a change of all tags.
        return replace(edit, remove_tags=tuple(tag for tag in edit.remove_tags if tag not in edit.add_tags))


Drawing = Callable[[Draw], Move | None]
"""Draws a call; None: there is nothing yet that it could be about."""

RULES: Final[dict[str, Drawing]] = {}
"""A rule for each call that changes something, by its name."""

WEIGHTS: Final[Mapping[str, float]] = {
    "create_session": 5,
    "create_sessions": 1,
    "restore_or_create_session": 1,
    "clear_checkpoints": 0.7,
    "delete_template": 0.7,
    "delete_sessions": 0.4,
    "save_checkpoint": 3,
    "add_message": 3,
    "add_message_to_session": 3,
    "update_session": 6,
    "delete_session": 1.2,
    "delete_user_sessions": 0.05,
    "delete_agent_sessions": 0.1,
    "batch_cleanup": 0.5,
    "cleanup_all_expired": 2,
    "close_session": 1.2,
    "set_session_state": 2.5,
    "release_lock": 3,
    "say": 4,
    "add_expiry_rule": 0.5,
    "remove_expiry_rule": 0.5,
    "enable_expiry_rule": 0.5,
    "cleanup_expired_sessions": 1.5,
    "link_identities": 4,
    "unlink_identity": 0.7,
    "sync_sessions": 6,
    "create_claim_code": 1,
    "tell_contact": 3,
    "dismiss_link": 0.5,
    "erase": 0.4,
}
"""How often a call is drawn; 2 for those that are not here."""

THEMES: Final = (
    (),
    (
        "claim",
        "confirm_link",
        "create_claim_code",
        "link_identities",
        "resolve_session_conflicts",
        "session_context",
        "set_sync_policy",
        "sync_sessions",
        "tell_contact",
        "unlink_identity",
    ),
)
"""What a world may be about: calls that say little without each other are drawn more often."""

ATOMIC: Final = (
    "acquire_lock",
    "add_message",
    "add_message_to_session",
    "apply_template",
    "change_said",
    "clear_checkpoints",
    "close_session",
    "create_session",
    "delete_checkpoint",
    "delete_session",
    "delete_template",
    "extend_session_lifetime",
    "react",
    "refresh_session",
    "release_lock",
    "reset_session_history",
    "restore_checkpoint",
    "revoke_share",
    "save_checkpoint",
    "save_template",
    "say",
    "set_session_state",
    "set_visibility",
    "share_session",
    "unlink_identity",
    "update_session",
    "update_session_metadata",
)
"""Calls that are one change: of two at once, one is before the other."""


def rule(draw: Drawing) -> Drawing:
    """Make a function the rule of the call that it is named after."""
    RULES[draw.__name__] = draw
    return draw


def drawn(draw: Draw, names: Sequence[str], theme: Collection[str] = ()) -> Move:
    """Draw one of the calls of these names, those of a theme more often."""
    weights = [WEIGHTS.get(one, 2) * (5 if one in theme else 1) for one in names]
    while True:
        name = draw.random.choices(names, weights)[0]
        if (move := RULES[name](draw)) is not None:
            return move


@rule
def create_session(draw: Draw) -> Move:
    user, chat, platform = _chat(draw) if draw.focus else _somewhere(draw)
    kwargs: dict[str, Any] = draw.request()
    if draw.chance(0.3):
        kwargs["keep_live"] = True
    if draw.chance(0.3):
        kwargs["parent_id"] = draw.named()[0]
    if draw.chance(0.2):
        kwargs["template"] = draw.pick(TEMPLATES)
    if draw.chance(0.3):
        kwargs["expires_in"] = draw.pick((60, 3600, 86400))
    if draw.chance(0.4):
        kwargs |= {"custom_data": draw.values() | {"n": draw.random.randint(1, 9)}, "metadata": draw.values()}
    if draw.chance(0.4):
        kwargs |= {"agent_id": draw.pick(("helper", "critic")), "ai_model": "small"}
    if draw.chance(0.3):
        kwargs["tags"] = draw.random.sample(TAGS, 2)
    return Move("create_session", (chat if draw.chance(0.7) else None, user, platform), kwargs)


@rule
def create_sessions(draw: Draw) -> Move:
    # Different chats: at once, the order of two in one chat is nobody's to say.
    # And where there is a limit, whom it refuses.
    limited = draw.library.options.max_sessions_per_user is not None
    chats = draw.random.sample((None, *CHATS), 1 if limited else 2)
    user, name = draw.pick(USERS), draw.name
    asked = [
        {"chat_id": chat, "user_id": user, "platform": "web", "request_id": f"r-{name}-{number}"}
        for number, chat in enumerate(chats)
    ]
    if draw.chance(0.3):
        asked[0]["template"] = draw.pick(TEMPLATES)
    return Move("create_sessions", (asked,))


@rule
def restore_or_create_session(draw: Draw) -> Move:
    agent = draw.pick((None, "helper", "critic"))
    return Move("restore_or_create_session", (draw.pick(USERS), agent), draw.request())


@rule
def add_message_to_session(draw: Draw) -> Move:
    session_id, session = draw.named()
    kwargs = {"user_id": _speaker(draw, session), "fence": draw.fence(session)}
    return Move("add_message_to_session", (session_id, draw.said(session)), kwargs)


def _speaker(draw: Draw, session: Session | None) -> str | None:
    """Return who says something in a session."""
    user = draw.user(session)
    return session.owner if session and session.owner == FORGOTTEN and user in USERS else user


@rule
def add_message(draw: Draw) -> Move:
    session_id, session = draw.named()
    said = draw.said(session)
    return Move(
        "add_message",
        (session_id, _speaker(draw, session), said.role, said.content),
        {"message_id": said.id, "fence": draw.fence(session)},
    )


@rule
def update_session(draw: Draw) -> Move | None:
    if not draw.copies:
        return None
    fitting = [one for one in draw.copies if draw.focus and one.read.session_id == draw.focus.session_id]
    copy = draw.pick(fitting or draw.copies)
    kwargs = draw.by(copy.read, user_id=_speaker(draw, copy.read))
    if draw.chance(0.3):
        kwargs["on_conflict"] = "overwrite"
    return Move("update_session", (copy.read, draw.edit(copy.read)), kwargs, copy=copy)


@rule
def update_session_metadata(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("update_session_metadata", (session_id, draw.values()), draw.by(session))


@rule
def set_session_state(draw: Draw) -> Move:
    session_id, session = draw.named()
    status = draw.pick(LIVE if draw.chance(0.7) else list(SessionStatus))
    return Move("set_session_state", (session_id, status), draw.by(session))


@rule
def close_session(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("close_session", (session_id,), draw.by(session))


@rule
def extend_session_lifetime(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("extend_session_lifetime", (session_id, draw.pick((30, 3600, 0.5))), draw.by(session))


@rule
def refresh_session(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("refresh_session", (session_id,), draw.by(session))


@rule
def reset_session_history(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("reset_session_history", (session_id, draw.random.randint(0, 3)), draw.by(session))


@rule
def share_session(draw: Draw) -> Move:
    session_id, session = draw.named()
    asked = (session_id, draw.owner(session), draw.pick(USERS), draw.pick(("read", "write")))
    return Move("share_session", asked, {**draw.request(), "fence": draw.fence(session)})


@rule
def revoke_share(draw: Draw) -> Move:
    session_id, session = draw.named()
    asked = (session_id, draw.owner(session), draw.pick(USERS))
    return Move("revoke_share", asked, {**draw.request(), "fence": draw.fence(session)})


@rule
def set_visibility(draw: Draw) -> Move:
    session_id, session = draw.named()
    asked = (session_id, draw.owner(session), draw.pick(("private", "public")))
    return Move("set_visibility", asked, {**draw.request(), "fence": draw.fence(session)})


@rule
def delete_session(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("delete_session", (session_id,), draw.by(session, children=draw.pick(("refuse", "detach", "cascade"))))


@rule
def delete_sessions(draw: Draw) -> Move:
    named = sorted({draw.named()[0] for _ in range(2)})
    return Move("delete_sessions", (named,), {"user_id": draw.pick((None, *USERS)), "children": "detach"})


@rule
def delete_user_sessions(draw: Draw) -> Move:
    return Move("delete_user_sessions", (draw.pick((*USERS, STRANGER)),))


@rule
def delete_agent_sessions(draw: Draw) -> Move:
    return Move("delete_agent_sessions", (draw.pick(("helper", "critic")), draw.pick((None, *USERS))))


@rule
def cleanup_all_expired(draw: Draw) -> Move:  # noqa: ARG001 - it takes nothing
    return Move("cleanup_all_expired")


@rule
def cleanup_expired_sessions(draw: Draw) -> Move:
    return Move("cleanup_expired_sessions", (draw.chance(0.3),))


@rule
def add_expiry_rule(draw: Draw) -> Move:
    silence, action = draw.pick((3000.0, 20_000.0, 100_000.0)), draw.pick(("expire", "archive", "delete"))
    return Move("add_expiry_rule", (Rule(draw.pick(RULE_IDS), silence, action, draw.pick((0, 1))),))


@rule
def remove_expiry_rule(draw: Draw) -> Move:
    return Move("remove_expiry_rule", (draw.pick(RULE_IDS),))


@rule
def enable_expiry_rule(draw: Draw) -> Move:
    return Move("enable_expiry_rule", (draw.pick(RULE_IDS), draw.chance(0.5)))


@rule
def batch_cleanup(draw: Draw) -> Move:
    return Move("batch_cleanup", (draw.pick((1, 7, 30)),))


@rule
def save_checkpoint(draw: Draw) -> Move:
    session_id, session = draw.named()
    known = [one.checkpoint_id for one in draw.library.held.checkpoints]
    chosen = draw.pick(known) if known and draw.chance(0.1) else f"k-{draw.name}"
    data = draw.pick((None, draw.values()))
    return Move("save_checkpoint", (session_id, data), {"user_id": draw.user(session), "checkpoint_id": chosen})


def _checkpoint(draw: Draw) -> tuple[str, str, Session | None]:
    """Return a session's id, a checkpoint's, most often of that session, and the session."""
    session_id, session = draw.named()
    known = draw.library.held.checkpoints
    if known and draw.chance(0.7):
        chosen = draw.pick(known)
        return chosen.session_id, chosen.checkpoint_id, draw.library.find(chosen.session_id)
    return session_id, draw.pick([one.checkpoint_id for one in known] or ["none"]), session


@rule
def restore_checkpoint(draw: Draw) -> Move:
    session_id, checkpoint_id, session = _checkpoint(draw)
    return Move("restore_checkpoint", (session_id, checkpoint_id), draw.by(session))


@rule
def delete_checkpoint(draw: Draw) -> Move:
    session_id, checkpoint_id, session = _checkpoint(draw)
    kwargs = {"session_id": session_id if draw.chance(0.5) else None, "user_id": draw.user(session)}
    return Move("delete_checkpoint", (checkpoint_id,), kwargs)


@rule
def clear_checkpoints(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("clear_checkpoints", (session_id,), {"user_id": draw.user(session)})


@rule
def save_template(draw: Draw) -> Move:
    told = {"system_prompt": draw.pick((None, "be kind")), "context": draw.values()}
    return Move("save_template", (draw.pick(TEMPLATES),), told | {"capabilities": draw.pick(([], ["search"]))})


@rule
def delete_template(draw: Draw) -> Move:
    return Move("delete_template", (draw.pick(TEMPLATES),))


@rule
def apply_template(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move("apply_template", (session_id, draw.pick(TEMPLATES)), draw.by(session))


@rule
def acquire_lock(draw: Draw) -> Move:
    session_id, session = draw.named()
    kwargs = {"timeout": 0, "lease": LEASE, "user_id": draw.user(session)}
    return Move("acquire_lock", (session_id,), kwargs, conversation=session_id.partition(".")[0])


def _about_lock(draw: Draw, name: str, **kwargs: Any) -> Move | None:
    """Return a call with the number of a lock: the last one given out, or an earlier one."""
    session = draw.session()
    conversation = session and draw.library.held.conversations[session.session_id.partition(".")[0]]
    if not session or not conversation or not conversation.locks:
        return None
    number = conversation.locks if draw.chance(0.8) else draw.random.randint(1, conversation.locks)
    kwargs["user_id"] = draw.user(session)
    return Move(name, (session.session_id, number), kwargs, conversation=session.session_id.partition(".")[0])


@rule
def renew_lock(draw: Draw) -> Move | None:
    return _about_lock(draw, "renew_lock", lease=LEASE)


@rule
def release_lock(draw: Draw) -> Move | None:
    return _about_lock(draw, "release_lock")


def _chat(draw: Draw) -> Where:
    """Return a chat, most often one in which something was said."""
    if draw.focus and draw.focus.chat and draw.focus.owner:
        return draw.focus.owner, draw.focus.chat, draw.focus.platform or ""
    known = [one for one in draw.library.held.sessions if one.chat and one.owner]
    if known and draw.chance(0.9):
        session = draw.pick(known)
        return session.owner or "", session.chat or "", session.platform or ""
    return _somewhere(draw)


def _somewhere(draw: Draw) -> Where:
    return draw.pick((*USERS, *USERS, FORGOTTEN)), draw.pick(CHATS), draw.pick(("telegram", "web"))


def _heard(draw: Draw, where: Where) -> str:
    """Return the id of something that was said in a chat, in this session or an earlier one."""
    conversation = draw.library.held.conversations.get(conversation_at(where))
    said = sorted(one for one in conversation.heard if one.startswith("i-")) if conversation else None
    return draw.pick(said) if said else "i-nothing"


@rule
def say(draw: Draw) -> Move:
    where = _chat(draw)
    text = "/new" if draw.chance(0.15) else f"said {draw.name}"
    return Move("say", (where, Said(f"i-{draw.name}", text, "user")))


@rule
def change_said(draw: Draw) -> Move:
    where = _chat(draw)
    text = draw.pick((None, f"edited {draw.name}"))
    return Move("change_said", (where, _heard(draw, where)), {"text": text, "said": f"e-{draw.name}"})


@rule
def react(draw: Draw) -> Move:
    where = _chat(draw)
    return Move("react", (where, _heard(draw, where)), {"said": f"e-{draw.name}"})


@rule
def archive(draw: Draw) -> Move | None:
    ended = [one for one in draw.library.sessions() if not one.is_live]
    chosen = draw.pick(ended) if ended and draw.chance(0.9) else draw.session()
    return Move("archive", (chosen.session_id,)) if chosen else None


@rule
def restore(draw: Draw) -> Move | None:
    away = [one for one in draw.library.sessions() if one.shelf is not None]
    chosen = draw.pick(away) if away and draw.chance(0.8) else draw.session()
    return Move("restore", (chosen.session_id,)) if chosen else None


def _there(draw: Draw) -> Session | None:
    """Return a session that was not deleted; the latest of its conversation may have been."""
    if draw.focus:
        return draw.focus
    found = draw.library.sessions()
    return draw.pick(found) if found else None


@rule
def link_identities(draw: Draw) -> Move | None:
    session = _there(draw)
    if session is None or session.owner is None:
        return None
    # One person is one user here: who is erased is erased with all that is linked to them.
    mine = [one.session_id for one in draw.library.sessions(owner=session.owner) if one.is_live]
    named = sorted({session.session_id, *(mine[:1])})
    identity = f"{draw.pick(('home', 'work'))} of {session.owner}"
    return Move("link_identities", (identity, named), {"user_id": draw.pick((None, session.owner, STRANGER))})


@rule
def unlink_identity(draw: Draw) -> Move | None:
    session = _there(draw)
    return Move("unlink_identity", (session.session_id,), {"user_id": draw.user(session)}) if session else None


@rule
def sync_sessions(draw: Draw) -> Move:
    linked = [one for one in draw.library.sessions() if one.identity and len(draw.library.linked(one.identity)) > 1]
    session_id, session = draw.named()
    if linked and draw.chance(0.8):
        session = draw.pick(linked)
        session_id = session.session_id
    return Move("sync_sessions", (session_id,), {"user_id": draw.user(session)})


@rule
def set_sync_policy(draw: Draw) -> Move:
    manual = Policy(manual=True, shares=draw.pick((("b", "n", "m"), ("b",))))
    policy = draw.pick((manual, manual, manual, Policy(), Policy(shares=("a*", "m")), None))
    owner = draw.pick((*USERS, FORGOTTEN))
    identity = draw.pick((None, None, f"home of {owner}", f"work of {owner}"))
    return Move("set_sync_policy", (policy, identity), {"user_id": draw.user() if draw.chance(0.3) else None})


@rule
def resolve_session_conflicts(draw: Draw) -> Move | None:
    about = [one for one in draw.library.sessions() if one.conflicts]
    session = draw.pick(about) if about else draw.session()
    if session is None or not (about or draw.chance(0.2)):
        return None
    how: dict[str, Any] = draw.pick(({"take_offered": True}, {"take_offered": False}, {"strategy": "latest_wins"}, {}))
    if draw.chance(0.3):
        how = how | {"fields": (f"/data/{draw.pick(NUMBERS)}",)}
    return Move("resolve_session_conflicts", ([session.session_id],), how | {"user_id": draw.user(session)})


@rule
def create_claim_code(draw: Draw) -> Move:
    session_id, session = draw.named()
    return Move(
        "create_claim_code",
        (session_id,),
        {"valid_for": draw.pick((0, 60, 5000, 100_000)), "user_id": draw.user(session)},
    )


@rule
def claim(draw: Draw) -> Move | None:
    if not draw.codes:
        return None
    number = draw.random.randrange(len(draw.codes))
    # Who is erased is erased with all that is linked to them: that is theirs alone here.
    users = (FORGOTTEN,) if draw.library.held.codes[number].owner == FORGOTTEN else USERS
    where = (draw.pick(users), draw.pick(CHATS), draw.pick(("telegram", "web")))
    text, wrong, asked = draw.codes[number], draw.chance(0.15), draw.chance(0.5)
    if wrong:
        text = text[:-1] + ("0" if text[-1] != "0" else "1")
    told = {"said": f"i-{draw.name}", "wrong": wrong, "asked": asked}
    return Move("claim", (where, number, f"/link {text}" if asked else text), told)


@rule
def tell_contact(draw: Draw) -> Move:
    session_id, session = draw.named()
    owner = (session and session.owner) or STRANGER
    known = ("all@x.org", f"{owner}@x.org", f" {owner}@X.org", None)
    value = draw.pick(known[1:] if owner == FORGOTTEN else known)
    told = {"user_id": _speaker(draw, session), **draw.request()}
    return Move("tell_contact", (session_id, draw.pick(("verified_email", "handle")), value), told)


def _suggestion(draw: Draw) -> tuple[str, dict[str, Any]] | None:
    known = sorted(draw.library.held.suggestions.values(), key=lambda one: one.suggestion_id)
    if not known:
        return None
    waiting = [one for one in known if one.open]
    chosen = draw.pick(waiting) if waiting and draw.chance(0.9) else draw.pick(known)
    return chosen.suggestion_id, {"user_id": draw.user(draw.library.find(chosen.session_ids[0]))}


@rule
def confirm_link(draw: Draw) -> Move | None:
    return Move("confirm_link", (found[0],), found[1]) if (found := _suggestion(draw)) else None


@rule
def dismiss_link(draw: Draw) -> Move | None:
    return Move("dismiss_link", (found[0],), found[1]) if (found := _suggestion(draw)) else None


@rule
def erase(draw: Draw) -> Move:  # noqa: ARG001 - it is always the same one
    return Move("erase", (FORGOTTEN,))


@rule
def session_context(draw: Draw) -> Move:
    where = (draw.pick((*USERS, FORGOTTEN)), draw.pick(CHATS), draw.pick(("telegram", "web")))
    return Move("session_context", (where, draw.edit()), {"request": f"r-{draw.name}", "fails": draw.chance(0.2)})


def _short(value: Any) -> str:
    if isinstance(value, Session):
        return f"<copy of {value.session_id[:4]}..{value.session_id[-3:]} read with {value.data}>"
    return repr(value)
