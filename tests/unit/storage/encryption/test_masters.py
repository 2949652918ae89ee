"""Master keys: where they come from, and that nothing shows them."""

import base64
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agentbus.contracts.errors import ConfigurationError, KeyMissing, StoreDamaged
from agentbus.storage.encryption import LocalMasterKeys, masters, new_key, open_master_keys, register_master_keys
from agentbus.storage.encryption.masters import MasterKeys
from tests.harness.encryption import FIRST, MASTERS, SECOND

ONE = base64.b64encode(FIRST).decode()
TWO = base64.urlsafe_b64encode(SECOND).decode()


async def same(keys: MasterKeys, other: MasterKeys) -> bool:
    return await other.unwrap(keys.active, await keys.wrap(b"secret", b"place"), b"place") == b"secret"


@pytest.mark.parametrize("text", [f"first:{ONE},second:{TWO}", f" first:{ONE}\n second:{TWO}\n"])
async def test_keys_are_given_as_text_the_active_one_first(text: str) -> None:
    keys = open_master_keys(text)

    assert keys.active == "first"
    assert keys.names == {"first", "second"}
    assert await same(keys, MASTERS)


async def test_a_file_of_keys_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# the day's key\nfirst:{ONE}\nsecond:{TWO}\n")
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"is open to others \(mode 0640\): chmod 600"):
        open_master_keys(f"file://{path}")
    path.chmod(0o600)

    assert await same(open_master_keys(f"file://{path}"), MASTERS)
    with pytest.raises(ConfigurationError, match="can't be read"):
        open_master_keys(f"file://{tmp_path}/nowhere")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "there is no key"),
        (ONE, "key 1 is not `name:`"),
        (f"first:{ONE},second:{TWO[:-8]}", "key 2 is not"),
        (f"first:{ONE} second:not-base64", "key 2 is not"),
        (f"fi/rst:{ONE}", "key 1 is not"),
        (f"first:{ONE},first:{TWO}", "two keys of the name first"),
        (f"vault://user:{ONE}@host", "no provider of master keys is known for vault://"),
    ],
)
def test_what_are_no_keys_is_told_without_them(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong) as error:
        open_master_keys(text)
    assert ONE[:8] not in str(error.value)
    assert TWO[:8] not in str(error.value)


def test_a_provider_is_registered_or_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masters, "_providers", {})
    register_master_keys("Mine", lambda url: LocalMasterKeys({url.rpartition("/")[2]: FIRST}))
    assert open_master_keys("mine://place/one").active == "one"

    offered = EntryPoint("theirs", f"{__name__}:Offered", "agentbus.master_keys")
    monkeypatch.setattr(EntryPoint, "load", lambda _: lambda _url: MASTERS)
    there = {("agentbus.master_keys", "theirs"): [offered]}
    monkeypatch.setattr(masters, "entry_points", lambda *, group, name: there.get((group, name), []))
    assert open_master_keys("theirs://place") is MASTERS


async def test_a_key_that_is_missing_or_another_is_told_by_its_name() -> None:
    wrapped = await MASTERS.wrap(b"secret", b"place")

    with pytest.raises(KeyMissing, match="the master key 'third' is needed") as error:
        await MASTERS.unwrap("third", wrapped, b"place")
    assert error.value.details == {"master_key": "third"}
    for keys, place in ((LocalMasterKeys({"first": SECOND}), b"place"), (MASTERS, b"elsewhere")):
        with pytest.raises(StoreDamaged, match="can't be decrypted with the master key 'first'"):
            await keys.unwrap("first", wrapped, place)
    with pytest.raises(StoreDamaged):
        await MASTERS.unwrap("first", b"short", b"place")


async def test_a_new_key_is_one() -> None:
    made = new_key("k1")

    assert open_master_keys(made).active == "k1"
    assert new_key("k1") != made
    with pytest.raises(ConfigurationError, match="names no key"):
        new_key("a b")
