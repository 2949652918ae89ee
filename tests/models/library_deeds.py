"""What happens to a library that is no call of its manager: chats, and what operators do."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import agentbus.sessions
from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.commands import CommandReply, SetVisibility
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied
from agentbus.contracts.events import MessageAppended, MetadataSet
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of
from agentbus.contracts.messages import (
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    ReactionContent,
    Role,
    TextContent,
)
from agentbus.contracts.profile import Visibility
from agentbus.contracts.sync import ConflictStrategy, SyncPolicy
from agentbus.sessions import (
    CleanupAction,
    Conditions,
    ExpiryRule,
    ExpiryStrategy,
    Message,
    SessionContext,
    SessionSystem,
    Step,
)
from agentbus.sessions.features import SYNC
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.erasure.users import Erasing, erase_user
from agentbus.workers.sync.people.claims import ClaimOutcome
from agentbus.workers.sync.services import SyncServices
from tests.harness.patience import PATIENCE
from tests.models.library_model import Edit, Where
from tests.models.library_moves import STRANGER
from tests.models.library_state import Policy, Rule, Said
from tests.models.library_world import World


async def say(world: World, manager: SessionSystem, where: Where, said: Said) -> None:
    """Publish a message of a chat, and wait until it was decided."""
    await _publish(world, manager, where, said.id, TextContent(text=said.content))


async def change_said(
    world: World, manager: SessionSystem, where: Where, target: str, *, text: str | None, said: str
) -> None:
    """Publish that a message was edited, or deleted."""
    content: Content = DeleteContent(target=target) if text is None else EditContent(target=target, text=text)
    await _publish(world, manager, where, said, content)


async def react(world: World, manager: SessionSystem, where: Where, target: str, *, said: str) -> None:
    """Publish a reaction."""
    await _publish(world, manager, where, said, ReactionContent(target=target, reaction="+1"))


async def archive(world: World, manager: SessionSystem, session_id: str) -> None:
    """Move a session to the archive, as expiry workers do."""
    if head := await world.store.heads.get(SessionId(session_id)):
        await archive_session(world.store, world.archive, _commands(manager), head)


async def restore(world: World, manager: SessionSystem, session_id: str) -> None:
    """Bring a session back, as `agentbus archive restore` does."""
    named = SessionId(session_id)
    await restore_session(world.store, world.archive, _commands(manager), named, clock=world.clock)


async def erase(world: World, manager: SessionSystem, user: str) -> None:
    """Erase a user, as `agentbus erase` does."""
    await erase_user(Erasing(world.store, world.archive, _commands(manager), world.clock), user)


async def session_context(
    _: World, manager: SessionSystem, where: Where, edit: Edit, *, request: str, fails: bool = False
) -> None:
    """Work on a session in a block, that may fail."""
    user, chat, platform = where
    place = agentbus.sessions.session_context(
        manager, chat_id=chat, user_id=user, platform=platform, request_id=request
    )
    try:
        async with place as session:
            make(session, edit)
            if fails:
                raise _BodyFailed
    except _BodyFailed:
        return


async def claim(
    world: World, manager: SessionSystem, where: Where, _: int, text: str, *, said: str, **__: bool
) -> ClaimOutcome | None:
    """Send a claim code from a chat, and have the sync worker hear it."""
    await _publish(world, manager, where, said, TextContent(text=text))
    user, chat, platform = where
    at = Address(platform=Platform(platform), chat=chat, user=user)
    event = await _latest(world, conversation_id_for(at, Scope.PER_CHAT_USER), MessageAppended)
    return await _sync(manager).claims.hear(event) if event and event.message.message_id == said else None


async def tell_contact(
    world: World,
    manager: SessionSystem,
    session_id: str,
    key: str,
    value: str | None,
    *,
    user_id: str | None,
    request_id: str,
) -> None:
    """Say how a session's user is reached, and have the sync worker note it."""
    await manager.update_session_metadata(session_id, {key: value}, user_id=user_id, request_id=request_id)
    event = await _latest(world, conversation_of(SessionId(session_id)), MetadataSet)
    if event and event.at == world.clock.now():  # or it was said before, and has been heard
        await _sync(manager).suggestions.note(event)


class _BodyFailed(Exception):
    """What a body raises."""


Deed = Callable[..., Awaitable[Any]]

DEEDS: Final[dict[str, Deed]] = {
    one.__name__: one
    for one in (say, change_said, react, archive, restore, erase, session_context, claim, tell_contact)
}


def spoken(said: Said) -> Message:
    """Return a message as people make it."""
    return Message(id=said.id, content=said.content, role=Role(said.role))


def expiry_rule(rule: Rule) -> ExpiryRule:
    """Return a rule as people make it."""
    return ExpiryRule(
        rule_id=rule.rule_id,
        strategy=ExpiryStrategy.ACTIVITY,
        conditions=Conditions(idle_for=rule.idle_for),
        actions=(Step(action=CleanupAction(rule.action)),),
        priority=rule.priority,
        enabled=rule.enabled,
    )


def sync_policy(policy: Policy) -> SyncPolicy:
    """Return a policy as people make it."""
    strategy = ConflictStrategy.MANUAL if policy.manual else ConflictStrategy.LATEST_WINS
    return SyncPolicy(strategy=strategy, data=policy.shares)


def make(context: SessionContext, edit: Edit) -> None:
    """Make changes to a copy."""
    for key, value in edit.data.items():
        context.set_data(key, value)
    for key in edit.remove:
        context.data.pop(key, None)
    for key, by in edit.add.items():
        context.increment(key, by)
    context.metadata.update(edit.metadata)
    for one in edit.messages:
        context.add_message(spoken(one))
    context.tags = [tag for tag in context.tags if tag not in edit.remove_tags]
    context.tags += [tag for tag in edit.add_tags if tag not in context.tags]
    for name, value in edit.attributes.items():
        setattr(context, name, value)
    if edit.status is not None:
        context.status = edit.status


async def _publish(world: World, manager: SessionSystem, where: Where, message_id: str, content: Content) -> None:
    user, chat, platform = where
    at = Address(platform=Platform(platform), chat=chat, user=user)
    client = manager._engine.client
    message = InboundMessage(address=at, message_id=message_id, sent_at=world.clock.now(), content=content)
    await client.publish(message)
    # Decided in one order with it, and refused whatever there is: once that is answered, the message was decided.
    try:
        await client.send(SetVisibility(address=at, actor=STRANGER, visibility=Visibility.PUBLIC), timeout=PATIENCE)
    except AccessDenied:
        return
    raise AssertionError("a stranger was let in")


Happened = TypeVar("Happened", MessageAppended, MetadataSet)


async def _latest(world: World, conversation: ConversationId, kind: type[Happened]) -> Happened | None:
    """Return the latest event of a kind in a conversation's log."""
    commits = await world.store.log.read(conversation, limit=10, newest=True)
    events = (event for commit in commits for event in reversed(commit.events))
    return next((event for event in events if isinstance(event, kind)), None)


def _sync(manager: SessionSystem) -> SyncServices:
    return manager._calls(SYNC)._services


class _Patient(Inputs):
    """Waits for replies for as long as tests wait for what must come."""

    async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = PATIENCE) -> CommandReply:
        return await super().ask(given, to=to, timeout=timeout)


def _commands(manager: SessionSystem) -> Inputs:
    return _Patient(manager._engine.client._bus)
