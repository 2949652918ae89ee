"""Who there is, and which sessions: set up before the users begin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from agentbus.sessions import Permission, SessionContext
from tests.stress.caller import Caller
from tests.stress.model import DELETED, Access, Right, SessionModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run consists of."""

    seconds: float = 60.0
    users: int = 200
    sessions: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a plan that makes no sense."""
        if self.seconds < 4 or self.sessions < 2 or self.users < 2 * self.sessions:
            raise ValueError("at least 4 seconds, 2 sessions, and 2 users for each session")


@dataclass
class Slot:
    """A place where there is always a session: when its owner deletes one, the next takes its place."""

    owner: str
    chat_id: str | None
    """Every second one is the session of a chat."""
    public: bool
    """Whether everyone may read it; every third one."""
    guests: dict[str, Permission]
    """Whom its owner lets in at first; for every third one nobody."""
    session: SessionModel


@dataclass
class World:
    """The sessions that there are and were, and who uses which."""

    slots: list[Slot] = field(default_factory=list)
    sessions: list[SessionModel] = field(default_factory=list)
    """All that were ever created."""

    def begin(self, caller: Caller, created: SessionContext) -> SessionModel:
        """Note that a user has created a session."""
        model = SessionModel(created.session_id, caller.user, caller.ledger.now)
        self.sessions.append(model)
        return model

    def owned_by(self, user: str) -> set[str]:
        """Return the ids of the sessions that a user has."""
        return {one.session_id for one in self.sessions if one.owner == user and one.access.exists}


def casting(plan: Plan, random: Random) -> tuple[list[str], list[str]]:
    """Return the names of the owners, each of whom has two sessions, and of all others."""
    owners = [f"owner{number}" for number in range((plan.sessions + 1) // 2)]
    others = [f"user{number}" for number in range(plan.users - len(owners))]
    random.shuffle(others)
    return owners, others


async def furnish(world: World, owner: Caller, numbers: Sequence[int], others: Sequence[str]) -> None:
    """Create an owner's sessions and let others in."""
    for number in numbers:
        guests = dict.fromkeys(owner.random.sample(others, len(others) // 8), Permission.READ)
        guests |= dict.fromkeys(owner.random.sample(others, len(others) // 5), Permission.WRITE)
        chat_id = f"chat{number}" if number % 2 else None
        public, closed = number % 3 == 2, number % 3 == 0
        created = await create(world, owner, chat_id)
        assert created is not None, "no session could be created"
        slot = Slot(owner.user, chat_id, public, {} if closed else guests, created)
        world.slots.append(slot)
        await let_in(owner, slot)


async def create(world: World, owner: Caller, chat_id: str | None) -> SessionModel | None:
    """Create a session for an owner; return None if that failed, which is a breach."""
    request = owner.unique()
    created = await owner.call_unchecked(
        "create_session",
        lambda: owner.manager.create_session(chat_id, owner.user, request_id=request, agent_id="stress"),
    )
    return world.begin(owner, created) if created else None


async def let_in(owner: Caller, slot: Slot) -> None:
    """Give a new session of a slot the visibility and the guests that it begins with."""
    if slot.public:
        await set_public(owner, slot.session, public=True)
    for guest, permission in slot.guests.items():
        await share(owner, slot.session, guest, permission)


async def share(owner: Caller, session: SessionModel, guest: str, permission: Permission | None) -> None:
    """Share a session with a guest, or no longer."""
    before, request = session.access, owner.unique()
    shares = {user: kept for user, kept in before.shares.items() if user != guest}
    shares |= {guest: permission} if permission else {}

    async def attempt() -> bool:
        where = (session.session_id, owner.user, guest)
        if permission:
            await owner.manager.share_session(*where, permission, request_id=request)
        else:
            await owner.manager.revoke_share(*where, request_id=request)
        return True

    session.may_be(before, after := Access(public=before.public, shares=shares))
    done = await owner.call("share_session" if permission else "revoke_share", session, Right.OWN, attempt)
    session.may_be(after if done else before)


async def set_public(owner: Caller, session: SessionModel, *, public: bool) -> None:
    """Let everyone read a session, or no longer."""
    before, request = session.access, owner.unique()

    async def attempt() -> bool:
        visibility = "public" if public else "private"
        await owner.manager.set_visibility(session.session_id, owner.user, visibility, request_id=request)
        return True

    session.may_be(before, after := Access(public=public, shares=before.shares))
    done = await owner.call("set_visibility", session, Right.OWN, attempt)
    session.may_be(after if done else before)


async def delete(owner: Caller, session: SessionModel) -> None:
    """Delete a session; afterwards its owner is refused as everybody is."""
    before, request = session.access, owner.unique()
    session.may_be(before, DELETED)
    await owner.call(
        "delete_session",
        session,
        Right.OWN,
        lambda: owner.manager.delete_session(session.session_id, user_id=owner.user, request_id=request),
    )
    # A delete that was carried out without an answer is refused when it is made again: whoever asks has no session.
    there = await owner.call_unchecked("session_exists", lambda: owner.manager.session_exists(session.session_id))
    if there:
        owner.ledger.breach("deleted session is there", session.session_id)
    session.may_be(before if there else DELETED)
