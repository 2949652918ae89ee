"""The session library and component state with master keys in the environment."""

from pathlib import Path

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions.config import make_config
from agentbus.sessions.system import SessionSystem
from agentbus.state import open_states
from agentbus.storage.encryption import new_key
from tests.harness.erasures import everything_in


async def test_what_is_said_in_a_session_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(storage_type="FILE", storage_config={"storage_dir": str(tmp_path)})
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", new_key("k"))
    async with SessionSystem(config) as manager:
        session = await manager.create_session("42", "ann", "web", metadata={"title": "My xylophone"})
        await manager.add_message(session.session_id, "ann", "user", "a xylophone")
        await manager.save_checkpoint(session.session_id, {"wants": "a xylophone"})

        read = await manager.get_session(session.session_id)

        assert read is not None
        assert read.metadata["title"] == "My xylophone"
    assert b"xylophone" not in everything_in(tmp_path)
    monkeypatch.delenv("AGENTBUS_ENCRYPTION_KEYS")
    with pytest.raises(ConfigurationError, match="AGENTBUS_ENCRYPTION_KEYS"):
        await SessionSystem(config).start()


async def test_states_of_components_are_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_ENCRYPTION_KEYS", new_key("k"))
    async with open_states(f"file://{tmp_path}") as states:
        await states.save("ada", {"memory": {"heard": "a xylophone"}})
        assert await states.load("ada") == {"memory": {"heard": "a xylophone"}}
    assert b"xylophone" not in everything_in(tmp_path)
    monkeypatch.delenv("AGENTBUS_ENCRYPTION_KEYS")
    with pytest.raises(ConfigurationError, match="AGENTBUS_ENCRYPTION_KEYS"):
        async with open_states(f"file://{tmp_path}"):
            pass
