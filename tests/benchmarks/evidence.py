"""What the stores kept: the histories of a run, read from MongoDB itself, past all code that is measured."""

from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.benchmarks.contenders import Contender
from tests.benchmarks.contenders.plain import SESSIONS, Inbound, entry_of
from tests.benchmarks.messages import envelope_of
from tests.benchmarks.order import Histories

Document = dict[str, Any]


def histories(contender: Contender, store_url: str) -> Histories | None:
    """Return the numbers of each conversation's messages in the order kept; None if the contender keeps nothing."""
    if contender.store is None:
        return None
    with MongoClient[Document](store_url) as client:
        database = client.get_default_database()
        return _from_log(database) if contender.store == "log" else _from_documents(database)


def _from_log(database: Database[Document]) -> Histories:
    found: dict[str, list[int]] = {}
    for commit in database["log"].find().sort([("_id.c", 1), ("_id.v", 1)]):
        numbers = found.setdefault(commit["_id"]["c"], [])
        numbers += [
            int(event["message"]["message_id"]) for event in commit["events"] if event["kind"] == "message_appended"
        ]
    return found


def _from_documents(database: Database[Document]) -> Histories:
    return {
        session["_id"]: [int(entry["message_id"]) for entry in session["history"]]
        for session in database[SESSIONS].find()
    }


def write_plain_session(store_url: str, user: str, messages: int) -> None:
    """Write the document that the plain consumer leaves after so many messages of a person."""
    with MongoClient[Document](store_url) as client:
        envelopes = [envelope_of(user, number) for number in range(1, messages + 1)]
        entries = [entry_of(Inbound.model_validate_json(envelope.to_bytes())) for _, envelope in envelopes]
        document = {"_id": envelopes[0][0], "history": [entry.model_dump() for entry in entries]}
        client.get_default_database()[SESSIONS].insert_one(document)
