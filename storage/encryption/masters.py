"""Master keys: they encrypt data keys, and never what people wrote. From the environment, a file, or a provider."""

import base64
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol

from agentbus.contracts.errors import ConfigurationError, KeyMissing, StoreDamaged
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.urls import masked
from agentbus.storage.damage import RESTORE

SETTING: Final = "AGENTBUS_ENCRYPTION_KEYS"
ENTRY_POINTS: Final = "agentbus.master_keys"
"""The group of entry points in which other distributions offer providers, each by its scheme."""

BYTES: Final = 32
_NONCE: Final = 12
_OTHERS: Final = 0o077
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOW: Final = "`name:` and base64 of 32 bytes; `agentbus store keys new` makes one"


class MasterKeys(Protocol):
    """What wraps data keys. Each master key has a name, which is kept beside what it wrapped.

    Both calls may raise StoreUnavailable: they are made again later.
    """

    @property
    def active(self) -> str:
        """The name of the one that wraps from now on."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all that are at hand."""

    async def wrap(self, secret: bytes, bound_to: bytes) -> bytes:
        """Encrypt a data key with the active master key, bound to what it is for."""

    async def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> bytes:
        """Decrypt what the master key `name` wrapped.

        Raises KeyMissing, naming it, if it is not at hand; StoreDamaged if it is another one, or this is not what
        was wrapped, or not for what it is bound to.
        """


Provider = Callable[[str], MasterKeys]
"""Makes master keys of a URL."""


class LocalMasterKeys:
    """Master keys in this process's memory, by their names; the first one wraps. AES-256-GCM, a random nonce each."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        # Slow to import, and most processes encrypt nothing.
        with importing_extras("crypto"):
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

        self._wrong = InvalidTag
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._active = next(iter(keys))

    @property
    def active(self) -> str:
        return self._active

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._keys)

    async def wrap(self, secret: bytes, bound_to: bytes) -> bytes:
        nonce = random_bytes(_NONCE)
        return nonce + self._keys[self._active].encrypt(nonce, secret, bound_to)

    async def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> bytes:
        key = self._keys.get(name)
        if key is None:
            raise KeyMissing(f"the master key {name!r} is needed and not here: give it by {SETTING}", master_key=name)
        try:
            return key.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], bound_to)
        except (self._wrong, ValueError):
            raise StoreDamaged(
                f"a data key can't be decrypted with the master key {name!r}: another key was given by that name, "
                f"or what is kept of it was changed: {RESTORE}",
                master_key=name,
            ) from None


def random_bytes(count: int) -> bytes:
    """Return bytes for keys and nonces."""
    import secrets  # noqa: PLC0415 - only who encrypts needs it

    return secrets.token_bytes(count)


def new_key(name: str) -> str:
    """Make up a master key, as the setting takes it. Raises ConfigurationError for a name that is none."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r:.80} names no key: letters, digits and ._- alone, at most 64")
    return f"{name}:{base64.b64encode(random_bytes(BYTES)).decode()}"


def open_master_keys(setting: str) -> MasterKeys:
    """Return the master keys that a setting gives: themselves, or a URL of a provider.

    Themselves: `name:base64`, several with commas or blanks between them, the active one first. `file:///path` names
    a file that holds them, one a line, which nobody else may read. Other schemes are those of
    `register_master_keys` and of the entry points `agentbus.master_keys`. Raises ConfigurationError, which shows no
    key.
    """
    scheme, separator, _ = setting.partition("://")
    if not separator:
        return LocalMasterKeys(_parsed(setting, SETTING))
    scheme = scheme.strip().lower()
    if provider := _providers.get(scheme):
        return provider(setting.strip())
    for found in entry_points(group=ENTRY_POINTS, name=scheme):
        offered: Provider = found.load()
        return offered(setting.strip())
    raise ConfigurationError(f"{SETTING}: no provider of master keys is known for {masked(setting)}")


def register_master_keys(scheme: str, provider: Provider) -> None:
    """Let a setting's URLs of `scheme` mean the master keys of `provider`. The last one registered counts."""
    _providers[scheme.lower()] = provider


def _in_file(url: str) -> MasterKeys:
    path = Path(url.partition("://")[2])
    try:
        mode = path.stat().st_mode
        if mode & _OTHERS:
            raise ConfigurationError(f"{SETTING}: {path} is open to others (mode {mode & 0o777:04o}): chmod 600 it")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{SETTING}: {path} can't be read: {error}") from None
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return LocalMasterKeys(_parsed("\n".join(lines), f"{SETTING}: {path}"))


def _parsed(text: str, where: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number, word in enumerate(text.replace(",", " ").split(), 1):
        name, _, secret = word.partition(":")
        key = _decoded(secret)
        # Nothing of a word that is wrong is shown: it may be a key without its name.
        if not _NAME.fullmatch(name) or key is None:
            raise ConfigurationError(f"{where}: key {number} is not {_HOW}")
        if name in found:
            raise ConfigurationError(f"{where}: there are two keys of the name {name}")
        found[name] = key
    if not found:
        raise ConfigurationError(f"{where}: there is no key: {_HOW}")
    return found


def _decoded(secret: str) -> bytes | None:
    try:
        key = base64.b64decode(secret.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return None
    return key if len(key) == BYTES else None


_providers: Final[dict[str, Provider]] = {"file": _in_file}
