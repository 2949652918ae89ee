"""Sessions of agents, with no services: `python examples/agent_sessions.py`.

Templates, checkpoints, locks with fencing tokens, and a limit of sessions for each user.
"""

import asyncio

from agentbus.sessions import LimitPolicy, LockLost, LockTimeout, SessionSystem, SessionSystemConfig

CONFIG = SessionSystemConfig(max_sessions_per_user=2, on_limit=LimitPolicy.CLOSE_OLDEST, checkpoint_every=2)


async def main() -> None:
    async with SessionSystem(CONFIG) as manager:
        await manager.save_template("helper", system_prompt="Be brief.", context={"step": 0}, capabilities=["search"])
        session = await manager.create_session(user_id="ann", agent_id="helper-1", template="helper")
        session_id = session.session_id
        print("from the template:", session.data, session.metadata)

        checkpoint_id = await manager.save_checkpoint(session_id, {"step": 1})
        session.set_data("step", 7)
        await manager.update_session(session)
        restored = await manager.restore_checkpoint(session_id, checkpoint_id)
        print("restored:", restored.data, "which is now the session's:", await data_of(manager, session_id))

        for role, content in (("user", "What's new?"), ("assistant", "Nothing much.")):
            await manager.add_message(session_id, "ann", role, content)
        latest = await manager.get_latest_checkpoint(session_id)
        print("saved by itself after two messages:", latest and latest.checkpoint_id)

        async with manager.lock(session_id) as token:
            try:
                await manager.acquire_lock(session_id, timeout=0.1)
            except LockTimeout as error:
                print("one at a time:", error)
            session = await manager.restore_or_create_session("ann", "helper-1")
            session.set_data("step", 2)
            await manager.update_session(session, fence=token)

        async with manager.lock(session_id) as later:
            session.set_data("step", 3)
            await manager.update_session(session, fence=later)
        session.set_data("step", 4)
        try:
            await manager.update_session(session, fence=token)  # as one would who was stopped for a while
        except LockLost as error:
            print("too late:", error)

        for number in (2, 3):
            await manager.create_session(user_id="ann", agent_id=f"helper-{number}")
        print("of three sessions the oldest was closed:", await manager.get_session_state(session_id))
        print("active:", sorted([one.agent_id or "" async for one in manager.get_all_active_sessions()]))


async def data_of(manager: SessionSystem, session_id: str) -> dict[str, object]:
    session = await manager.get_session(session_id)
    return session.data if session else {}


if __name__ == "__main__":
    asyncio.run(main())
