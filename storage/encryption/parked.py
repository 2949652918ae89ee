"""The parked inputs, encrypted: the beginning of a body with the words about it, the rest by itself.

A list decrypts the beginning alone.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.damage import read_as, readable
from agentbus.storage.encryption.coder import Coder, Keys
from agentbus.storage.encryption.contents import key_of, of_parked, opened, opened_bytes, sealed_with
from agentbus.storage.encryption.data_keys import Opened
from agentbus.storage.port import LISTED_BODY, ParkedInputs, Store

_LARGE: Final = 1024 * 1024
"""Bytes from which on a thread does it: 128 MiB take about a tenth of a second."""
_SEPARATOR: Final = b"\n"
_LONGEST_NAME: Final = 64


class EncryptedParked(ParkedInputs):
    """The section of the parked inputs."""

    def __init__(self, store: Store, coder: Coder) -> None:
        self._store = store
        self._coder = coder

    async def put(self, parked: ParkedInput) -> None:
        (kept,) = await self._encrypted([parked])
        await self._store.parked.put(kept)

    async def put_many(self, parked: Sequence[ParkedInput]) -> None:
        await self._store.parked.put_many(await self._encrypted(parked))

    async def _encrypted(self, parked: Sequence[ParkedInput]) -> Sequence[ParkedInput]:
        """Return parked inputs as they are kept. Raises KeyMissing, StoreDamaged."""
        keys = await self._coder.encrypting(of_parked(one.parked_id) for one in parked)
        return [await _apart(one, partial(_encrypted, keys)) for one in parked] if keys else parked

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        kept = await self._store.parked.get(parked_id)
        if kept is None or kept.sealed is None:
            return kept
        rest = kept.body[:_LONGEST_NAME].partition(_SEPARATOR)[0].decode("ascii", "replace")
        keys = await self._coder.named({key_of(kept.sealed), *([rest] if rest.isprintable() and rest else ())})
        return await _apart(kept, partial(_decrypted, keys))

    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        page = await self._store.parked.page(status, conversation=conversation, limit=limit, cursor=cursor)
        keys = await self._coder.decrypting(one.sealed for one in page.items)
        return Page(items=tuple(readable(page.items, partial(_listed, keys))), cursor=page.cursor)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        return await self._store.parked.ids(limit=limit, cursor=cursor)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        return await self._store.parked.set_status(parked_id, status)

    async def delete(self, parked_id: ParkedId) -> bool:
        return await self._store.parked.delete(parked_id)


async def _apart(parked: ParkedInput, change: Callable[[ParkedInput], ParkedInput]) -> ParkedInput:
    """Change a parked input, in a thread if it is large."""
    return await asyncio.to_thread(change, parked) if len(parked.body) > _LARGE else change(parked)


def _encrypted(keys: Keys, parked: ParkedInput) -> ParkedInput:
    """Return a parked input as it is kept. Raises KeyMissing, StoreDamaged."""
    key = keys[of_parked(parked.parked_id)]
    if isinstance(key, StoreDamaged):
        raise key
    body = parked.body
    first = base64.b64encode(body[:LISTED_BODY]).decode()
    words = {"reason": parked.reason, "stack": parked.stack, "size": len(body), "body": first}
    sealed = sealed_with(key, json.dumps(words).encode(), _place(parked, "words"))
    rest = b""
    if len(body) > LISTED_BODY:
        rest = key.name.encode() + _SEPARATOR + key.encrypt(body[LISTED_BODY:], _place(parked, "rest"))
    return parked.model_copy(update={"reason": "", "stack": "", "body": rest, "sealed": sealed})


def _listed(keys: Mapping[str, Opened], parked: ParkedInput) -> ParkedInput:
    """Return a parked input with the beginning of its body. Raises KeyMissing, StoreDamaged."""
    if parked.sealed is None:
        return parked
    words, _ = _words(keys, parked)
    return parked.model_copy(update=words | {"sealed": None})


def _decrypted(keys: Mapping[str, Opened], parked: ParkedInput) -> ParkedInput:
    """Return a parked input with its whole body. Raises KeyMissing, StoreDamaged."""
    words, size = _words(keys, parked)
    body: bytes = words["body"]
    if size and len(parked.body) == size:
        body = parked.body  # Parked before anything was encrypted: what was kept of it then stays.
    elif size > len(body):
        name, _, raw = parked.body.partition(_SEPARATOR)
        key = name.decode("ascii", "replace")
        body += _sound(opened_bytes(key, raw, keys, _place(parked, "rest"), _what(parked)), parked)
    return parked.model_copy(update=words | {"body": body, "sealed": None})


def _words(keys: Mapping[str, Opened], parked: ParkedInput) -> tuple[dict[str, Any], int]:
    """Return what is said about a parked input with the beginning of its body, and how large all of that is."""
    plain = _sound(opened(parked.sealed or "", keys, _place(parked, "words"), _what(parked)), parked)

    def read(plain: bytes) -> tuple[dict[str, Any], int]:
        found = json_in(plain)
        words = {"reason": found["reason"], "stack": found["stack"], "body": base64.b64decode(found["body"])}
        return words, int(found["size"])

    return read_as(_what(parked), read, plain)


def _sound(plain: bytes | None, parked: ParkedInput) -> bytes:
    if plain is None:
        raise StoreDamaged(f"{_what(parked)} was erased: its key was destroyed")
    return plain


def _what(parked: ParkedInput) -> str:
    return f"parked input {parked.parked_id}"


def _place(parked: ParkedInput, part: str) -> str:
    return json.dumps(["parked", parked.parked_id, part])
