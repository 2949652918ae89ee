"""Who may see and change a session, with no services: `python examples/sessions_sharing.py`.

Every call that takes `user_id` is checked. A refusal does not tell whether the session exists.
"""

import asyncio

from agentbus.sessions import AccessDenied, SessionManager, SessionSystem


async def try_to_read(manager: SessionManager, session_id: str, user: str) -> None:
    try:
        page = await manager.get_session_messages(session_id, user)
        print(f"{user} reads: {[message.content for message in page.items]}")
    except AccessDenied as error:
        print(f"{user} is refused: {error}")


async def main() -> None:
    async with SessionSystem() as manager:  # in memory
        session = await manager.create_session(user_id="ann", tags=["trip"])
        session_id = session.session_id
        await manager.add_message(session_id, "ann", "user", "Where shall we go?")
        await try_to_read(manager, session_id, "bob")

        await manager.share_session(session_id, "ann", "bob", "read")
        await try_to_read(manager, session_id, "bob")
        try:
            await manager.add_message(session_id, "bob", "user", "To the sea!")
        except AccessDenied:
            print("bob may read, not write")

        await manager.share_session(session_id, "ann", "bob", "write")
        await manager.add_message(session_id, "bob", "user", "To the sea!")
        await manager.revoke_share(session_id, "ann", "bob")
        await try_to_read(manager, session_id, "bob")

        await manager.set_visibility(session_id, "ann", "public")
        await try_to_read(manager, session_id, "carol")

        listed = await manager.list_user_sessions("ann", tags=["trip"])
        print("ann's sessions:", [one.session_id for one in listed.items])
        for entry in (await manager.get_audit_log(session_id, user_id="ann")).items:
            print(f"  {entry.sequence:2} {entry.action:16} by {entry.actor or 'the application'}")
        figures = await manager.get_statistics("ann")
        print(f"in figures: {figures.total} session, {figures.messages} messages")


if __name__ == "__main__":
    asyncio.run(main())
