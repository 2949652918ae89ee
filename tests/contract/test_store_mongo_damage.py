"""What MongoDB's driver can't turn into Python's values is damage of its document, not of all that are read with it."""

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import Partition
from agentbus.storage.factory import open_store
from agentbus.storage.port import MongoDriver, attempt_at
from agentbus.storage.summaries import summary_of
from tests.harness.builders import a_commit, a_conversation, a_head, an_address, appended, begun

WORD, NO_DATE = b"lobby-of-the-damaged", (2**62).to_bytes(8, "little")

Change = Callable[[bytes], bytes]


def no_text(raw: bytes) -> bytes:
    """Put bytes that are not UTF-8 in the place of a text."""
    assert WORD in raw
    return raw.replace(WORD, b"\xff" * len(WORD))


def no_date(raw: bytes) -> bytes:
    """Put a moment that no calendar has in the place of all dates."""
    for name in (b"\x09created_at\0", b"\x09last_activity\0", b"\x09at\0"):
        if (at := raw.find(name)) >= 0:
            raw = raw[: at + len(name)] + NO_DATE + raw[at + len(name) + 8 :]
    assert NO_DATE in raw
    return raw


def rewrite(url: str, name: str, identity: Any, change: Change) -> None:
    options: CodecOptions[RawBSONDocument] = CodecOptions(
        document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO
    )
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with client:
        documents: Any = client.get_default_database().get_collection(name, codec_options=options)
        document = documents.find_one({"_id": identity})
        documents.replace_one({"_id": identity}, RawBSONDocument(change(document.raw), options))


@pytest.mark.parametrize("change", [no_text, no_date])
@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_document_that_can_not_be_decoded_hides_no_other(
    driver: MongoDriver, mongo_url: str, change: Change
) -> None:
    one, other = a_conversation(), a_conversation()
    place = an_address().model_copy(update={"chat": WORD.decode()})
    start = begun(one).model_copy(update={"address": place})
    async with open_store(mongo_url, mongo_driver=driver) as store:
        await store.log.append([first := a_commit(one, events=[start]), fine := a_commit(other, events=[begun(other)])])
        await store.log.append([second := a_commit(one, 2, events=[appended(one, 2, "m")])])
        heads = [a_head(one, version=2, address=place), a_head(other)]
        await store.heads.save(heads)

        rewrite(mongo_url, "heads", heads[0].session_id, change)

        assert (await store.heads.page(SessionFilter())).items == (heads[1],)
        assert (await store.heads.summaries(SessionFilter())).items == (summary_of(heads[1]),)
        assert await store.heads.get_many([head.session_id for head in heads]) == {heads[1].session_id: heads[1]}
        assert (await store.log.load([one, other]))[one].commits == (first, second)
        with pytest.raises(StoreDamaged, match=heads[0].session_id):
            await store.heads.get(heads[0].session_id)

        rewrite(mongo_url, "log", {"c": one, "v": 1}, change)

        loaded = await store.log.load([one, other])
        assert isinstance(loaded[one].damage, StoreDamaged)
        assert loaded[other].head == heads[1]
        with pytest.raises(StoreDamaged, match="is damaged"):
            await store.log.read(one, limit=10)
        assert await store.log.read(other, limit=10) == [fine]


@pytest.mark.parametrize("version", ["nine", None, {"n": 9}, math.nan])
async def test_head_of_no_version_is_replaced_and_not_taken_for_flushed(mongo_url: str, version: object) -> None:
    one = a_conversation()
    heads = [a_head(one, version=4), a_head(a_conversation())]
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client:
        kept = client.get_default_database()["heads"]
        async with open_store(mongo_url) as store:
            for again in (store.heads.save, store.heads.write, store.heads.flush):
                await store.heads.save(heads)
                change = {"$set": {"version": version}}
                assert kept.update_one({"_id": heads[0].session_id}, change).modified_count

                await again(heads)

                assert await store.heads.get(heads[0].session_id) == heads[0]


@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_damaged_epoch_and_trial_begin_anew(driver: MongoDriver, mongo_url: str) -> None:
    trial, other = attempt_at("key", "first"), attempt_at("key", "second")
    async with open_store(mongo_url, mongo_driver=driver) as store:
        assert await store.members.begin_trial(trial) == 1
        assert await store.members.take_epoch("group", Partition(3), above=8) == 9
        client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
        with client:
            database = client.get_default_database()
            database["trials"].update_many({}, {"$set": {"attempts": "many", "count": "some"}})
            database["epochs"].update_many({}, {"$set": {"count": "nine"}})

        assert await store.members.begin_trial(trial) == 1
        assert await store.members.begin_trial(trial) == 1
        assert await store.members.begin_trial(other) == 2
        assert await store.members.take_epoch("group", Partition(3)) == 1
        assert await store.members.take_epoch("group", Partition(3), above=9) == 10
