"""Messages: adding them to a session, and reading them."""

from agentbus.contracts.commands import AppendMessage
from agentbus.contracts.ids import SessionId
from agentbus.contracts.messages import Role, said_key
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.messages import Message
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.validation import checking
from agentbus.sessions.sections.checkpoints import Checkpoints
from agentbus.sessions.sections.shared import Caller, Commands
from agentbus.storage.history import history_page
from agentbus.workers.domain.access import Right


class Messages:
    """The messages of sessions; after one is added, the checkpoint that is due is saved."""

    def __init__(self, engine: Engine, commands: Commands, checkpoints: Checkpoints) -> None:
        self._engine = engine
        self._commands = commands
        self._checkpoints = checkpoints

    async def add(self, session_id: str, message: Message, user_id: str | None, fence: int | None) -> Message:
        state = await self._engine.readable(session_id, user_id, Right.WRITE)
        with checking(f"message {message.id} can't be kept"):
            outbound = message.outbound(state.address if state else None)
            key = said_key(SessionId(session_id), message.id)
        await self._commands.carry_out(session_id, AppendMessage, Caller(user_id, fence, key), message=outbound)
        await self._checkpoints.save_due(session_id)
        return message

    async def say(
        self,
        session_id: str,
        user_id: str | None,
        role: Role | str,
        content: str,
        *,
        message_id: str | None,
        fence: int | None,
    ) -> Message:
        with checking("the message can't be kept"):
            author = user_id if Role(role) is Role.USER else None
            message = Message(content=content, user_id=author, role=Role(role))
            message.id = message.id if message_id is None else message_id
        return await self.add(session_id, message, user_id, fence)

    async def page(self, session_id: str, user_id: str | None, *, limit: int, before: str | None) -> Page[Message]:
        state = await self._engine.existing(session_id, user_id)
        page = await history_page(self._engine.store, state, limit=limit, cursor=before)
        return Page(items=[Message.of(shown) for shown in page.items], cursor=page.cursor)
