"""Copies follow their source: what is edited or taken back in one session is so wherever its message was copied to."""

from agentbus.contracts.commands import AmendCopy
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import MessageDeleted, MessageEdited
from agentbus.contracts.ids import ConversationId, InputId, conversation_of, digest_of
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.members import latest_session
from agentbus.workers.sync.people.identities import Identities
from agentbus.workers.sync.policies import Policies

Amended = MessageEdited | MessageDeleted


class Copies:
    """Tells conversations what became of messages of which they may hold copies.

    A copy may be in a session that is over by now, and in a conversation that is not linked any more: all that ever
    were linked to the same person are told. Whether a message is a copy is seen when it is read: what is told of
    somebody else's, or of what was never copied, changes nothing.
    """

    def __init__(self, store: Store, commands: Inputs, policies: Policies, identities: Identities) -> None:
        self._store = store
        self._commands = commands
        self._policies = policies
        self._identities = identities

    async def follow(self, event: Amended) -> None:
        """Pass on that a session's own message was edited or deleted. Idempotent.

        A deletion goes everywhere, whatever the policy says now; an edit where the policy shares histories.
        """
        here = conversation_of(event.session_id)
        if event.source is not None or not (others := await self._others(event, here)):
            return
        version, now = await self._now(event, here)
        text, attachments = (now.text, now.attachments) if isinstance(now, MessageEdited) else (None, ())
        commands: list[Input] = []
        for conversation in sorted(others):
            session = await latest_session(self._store, conversation)
            if session.generation:
                command = AmendCopy(
                    session_id=session.session_id,
                    source=event.session_id,
                    target=event.target,
                    text=text,
                    attachments=attachments,
                    version=version,
                )
                commands.append(Input(InputId(digest_of(("amend copy", now.event_id, conversation))), command))
        await self._commands.give(commands)

    async def _others(self, event: Amended, here: ConversationId) -> set[ConversationId]:
        identities = await self._identities.ever_of(here) | ({event.identity} if event.identity else set())
        found: set[ConversationId] = set()
        for identity in identities:
            if isinstance(event, MessageDeleted) or (await self._policies.of(identity)).history:
                found |= await self._identities.ever_linked(identity)
        return found - {here}

    async def _now(self, event: Amended, here: ConversationId) -> tuple[int, Amended]:
        """Return what holds of the message by now: that it was deleted, else its latest edit, and that one's commit.

        By the time that it is told, there may be a later one: it is the version that tells them apart.
        """
        version, latest = 0, event
        for commit in await self._store.log.commits_amending(here, [event.target]):
            for one in commit.events:
                if not isinstance(one, Amended) or one.target != event.target or one.source is not None:
                    continue
                if isinstance(one, MessageDeleted):
                    return commit.version, one
                version, latest = commit.version, one
        return version, latest
