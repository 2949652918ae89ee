"""Messages: adding them to a session, and reading them."""

from agentbus.sessions.manager.base import ManagerBase
from agentbus.sessions.manager.checkpoints import Checkpoints
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.message import Message
from agentbus.sessions.model.page import Page
from contracts.commands import AppendMessage
from contracts.ids import SessionId
from contracts.messages import Role, said_key
from storage.history import history_page
from workers.domain.access import Right


class Messages(Checkpoints, ManagerBase):
    """The section of messages."""

    async def add_message_to_session(
        self, session_id: str, message: Message, *, user_id: str | None = None, fence: int | None = None
    ) -> Message:
        """Add a message and return it. The message's id makes it safe to repeat: it is there once.

        Raises SessionNotFound, SessionNotCurrent, AccessDenied (unless `user_id` may change the session), LockLost;
        SchemaViolation for a message that can't be.
        """
        state = await self._engine.readable(session_id, user_id, Right.WRITE)
        with checking(f"message {message.id} can't be kept"):
            outbound = message.outbound(state.address if state else None)
            key = said_key(SessionId(session_id), message.id)
        await self._command(session_id, AppendMessage, key, actor=user_id, fence=fence, message=outbound)
        await self._checkpoint_by_itself(session_id)
        return message

    async def add_message(
        self,
        session_id: str,
        user_id: str | None,
        role: Role | str,
        content: str,
        *,
        message_id: str | None = None,
        fence: int | None = None,
    ) -> Message:
        """Add a message of a role (user, assistant, system, tool) on behalf of `user_id`, and return it.

        The user's access is checked; None is the application itself. Raises as `add_message_to_session` does.
        """
        with checking("the message can't be kept"):
            author = user_id if Role(role) is Role.USER else None
            message = Message(content=content, user_id=author, role=Role(role))
            message.id = message.id if message_id is None else message_id
        return await self.add_message_to_session(session_id, message, user_id=user_id, fence=fence)

    async def get_session_messages(
        self, session_id: str, user_id: str | None = None, *, limit: int = 50, before: str | None = None
    ) -> Page[Message]:
        """Return a session's latest messages, oldest first, and the cursor for those before them.

        `before` is the cursor of the page that was read last. Raises SessionNotFound, or AccessDenied if `user_id` is
        given; ValueError for a limit outside 1..1000 or a cursor of another session.
        """
        state = await self._engine.existing(session_id, user_id)
        page = await history_page(self._store, state, limit=limit, cursor=before)
        return Page(items=[Message.of(shown) for shown in page.items], cursor=page.cursor)
