"""Sessions in one process, with no services: `python examples/sessions_basic.py`.

A chat's session is found or created, changed in a block, and saved once; a session that was saved is read back after a
restart; two who change the same field are told so.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from agentbus.sessions import EditConflict, Message, SessionContext, SessionSystem, initialize_sessions, session_context


async def greet(system: SessionSystem, text: str) -> str:
    async with session_context(system, chat_id="42", user_id="ann", platform="telegram") as session:
        session.add_message(Message(content=text, user_id="ann"))
        session.set_data("greetings", session.get_data("greetings", 0) + 1)
    return session.session_id  # saved: all that the block changed, or nothing had it raised


async def main(folder: str) -> None:
    where = {"db_path": str(Path(folder) / "sessions.db")}  # storage_type="MONGODB" takes {"url": "mongodb://..."}
    async with await initialize_sessions("DATABASE", storage_config=where) as system:
        session_id = await greet(system, "Hello!")
        await greet(system, "Hello again!")

    async with await initialize_sessions("DATABASE", storage_config=where) as system:
        session = await read(system, session_id)
        print("after a restart:", [message.content for message in session.conversation_history], session.data)

        other = await read(system, session_id)
        session.set_data("step", "pay")
        other.set_data("step", "cancel")
        await system.update_session(session)
        try:
            await system.update_session(other)
        except EditConflict as error:
            print("refused:", error)
        await system.update_session(other, on_conflict="overwrite")

        newer = await system.create_session("42", "ann", "telegram")
        before = await read(system, session_id)
        print(f"a new session of the chat: {newer.session_id}; the one before is {before.status} and still readable")
        await system.delete_session(session_id)
        print("deleted:", await system.get_session(session_id))


async def read(system: SessionSystem, session_id: str) -> SessionContext:
    session = await system.get_session(session_id)
    if session is None:
        raise LookupError(session_id)
    return session


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        asyncio.run(main(temporary))
