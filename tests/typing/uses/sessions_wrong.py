"""Uses of the session API that must be errors, to both type checkers. Nothing here is run.

Each line names the error of mypy, then that of Pyright. A line that is no error any more is an error itself: an ignore
that nothing needs.
"""

from agentbus.sessions import (
    ContextManager,
    FileSessionStore,
    Message,
    SessionContext,
    SessionManager,
    SessionStore,
    SessionSystem,
    get_production_config,
    get_session_manager,
    initialize_sessions,
    register_provider,
    session_context,
    with_session,
)


async def starting() -> None:
    await initialize_sessions(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SessionSystem({"storage_type": "memory"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    get_session_manager().start()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    get_production_config()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SessionStore()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]
    FileSessionStore()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    register_provider("mine", dict)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def sessions(manager: SessionManager, session: SessionContext) -> None:
    await manager.create_session("chat", "user", "web", colour=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.create_session(chat_id=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await manager.create_session(custom_data={"a": object()})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await manager.get_session(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (await manager.get_session("id")).is_active()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    await manager.update_session(session.session_id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await manager.update_session(session, "user")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.extend_session_lifetime("id", "1 h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    manager.get_session("id").is_active()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    SessionContext("id")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    session.set_data("a", object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.add_message("hello")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.platform = "web"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]


async def messages(manager: SessionManager) -> None:
    Message("hello")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Message(content=b"hello")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await manager.add_message("id", "user", "hello")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.get_session_messages("id", None, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def results(manager: SessionManager) -> None:
    (await manager.create_sessions([{}]))[0].value.is_active()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    (await manager.get_audit_log("id")).items[0].actor = "me"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    (await manager.get_latest_checkpoint("id"))["data"]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]
    await manager.get_all_active_sessions()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    async with manager.lock("id", lease="1 h"):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        pass
    await ContextManager(manager).set("id")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def blocks(manager: SessionManager) -> None:
    async with session_context(manager, chat_id="1", user_id="2"):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        pass
    with session_context(manager, chat_id="1", user_id="2", platform="web"):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass

    @with_session(manager)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async def handle(text: int) -> None:
        del text
