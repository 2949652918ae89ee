"""Templates of sessions."""

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import AccessDenied, SessionNotFound, SessionSystem, TemplateNotFound


async def test_a_session_begins_as_its_template_says(system: SessionSystem) -> None:
    saved = await system.save_template(
        "support", system_prompt="Be kind.", context={"step": 0, "lang": "en"}, capabilities=["search"]
    )

    session = await system.create_session(
        user_id="ann", template="support", custom_data={"lang": "de"}, metadata={"source": "test"}
    )

    assert session.template == "support"
    assert session.data == {"step": 0, "lang": "de"}
    assert session.metadata == {"system_prompt": "Be kind.", "capabilities": ["search"], "source": "test"}
    assert await system.get_template("support") == saved
    assert [one.name for one in await system.list_templates()] == ["support"]


async def test_a_session_is_brought_back_to_its_template(system: SessionSystem) -> None:
    await system.save_template("support", context={"step": 0}, system_prompt="Be kind.")
    session = await system.create_session(user_id="ann", custom_data={"step": 5, "own": 1})

    await system.apply_template(session.session_id, "support", user_id="ann")

    kept = await system.get_session(session.session_id)
    assert kept is not None
    assert (kept.data, kept.metadata, kept.template) == (
        {"step": 0, "own": 1},
        {"system_prompt": "Be kind."},
        "support",
    )


async def test_a_template_is_replaced_and_deleted_without_touching_sessions(system: SessionSystem) -> None:
    await system.save_template("support", context={"version": 1})
    session = await system.create_session(user_id="ann", template="support")
    await system.save_template("support", context={"version": 2})

    assert (await system.create_session(user_id="ann", template="support")).data == {"version": 2}
    assert await system.delete_template("support")
    assert not await system.delete_template("support")
    kept = await system.get_session(session.session_id)
    assert kept is not None
    assert (kept.data, kept.template) == ({"version": 1}, "support")


async def test_a_template_that_is_not_there_makes_no_session(system: SessionSystem) -> None:
    session = await system.create_session(user_id="ann")

    for name in ("missing", "", "a" * 300):
        with pytest.raises(TemplateNotFound, match="there is no template"):
            await system.create_session(user_id="ann", template=name)
        with pytest.raises(TemplateNotFound):
            await system.apply_template(session.session_id, name)
        assert await system.get_template(name) is None
        assert not await system.delete_template(name)
    assert (await system.get_statistics()).total == 1


async def test_templates_and_sessions_that_can_not_be(system: SessionSystem) -> None:
    await system.save_template("support")
    session = await system.create_session(user_id="ann")

    with pytest.raises(SchemaViolation):
        await system.save_template("")
    with pytest.raises(SchemaViolation):
        await system.save_template("bad", context={"a": object()})  # type: ignore[dict-item]
    with pytest.raises(SessionNotFound):
        await system.apply_template("missing", "support")
    with pytest.raises(AccessDenied):
        await system.apply_template(session.session_id, "support", user_id="eve")
