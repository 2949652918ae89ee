"""The private MongoDB server: it can be killed, restarted, frozen, and be a replica set."""

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError
from pymongo.write_concern import WriteConcern

from tests.services import LocalMongoDB, MongoDB, form_replica_set, private_mongodb
from tests.services.external import ExternalMongoDB
from tests.services.test_services import gone

Client = MongoClient[dict[str, Any]]


def test_a_killed_server_keeps_journaled_writes_on_the_same_port() -> None:
    with private_mongodb() as server:
        url = server.url
        with Client(url) as client:
            notes = client["test"]["notes"].with_options(write_concern=WriteConcern(w=1, j=True))
            notes.insert_one({"_id": 1})
        server.kill()
        with Client(url, serverSelectionTimeoutMS=200) as client, pytest.raises(ServerSelectionTimeoutError):
            client.admin.command("ping")
        server.start()
        assert server.url == url
        with Client(url) as client:
            assert client["test"]["notes"].find_one() == {"_id": 1}


def test_a_paused_server_does_not_answer_and_start_resumes_it() -> None:
    with LocalMongoDB() as server:
        server.pause()
        assert server.running
        assert not server.ready()
        pid = server.start().pid
        assert server.ready()
        assert server.restart().pid != pid
    assert gone(pid)


def test_one_server_is_a_replica_set_with_change_streams() -> None:
    with (
        LocalMongoDB(replica_set="rs") as server,
        Client(form_replica_set(server)) as client,
        client["test"]["notes"].watch() as stream,
    ):
        client["test"]["notes"].insert_one({"_id": 1})
        assert next(stream)["documentKey"] == {"_id": 1}


def test_each_database_is_new_and_is_dropped(mongodb: MongoDB) -> None:
    with mongodb.fresh_database() as first, mongodb.fresh_database() as second, Client(first) as client:
        assert first != second
        name = client.get_default_database().name
        client[name]["notes"].insert_one({})
        assert name in client.list_database_names()
    with Client(mongodb.url) as client:
        assert name not in client.list_database_names()


def test_the_fixture_gives_a_database(mongo_url: str) -> None:
    with Client(mongo_url) as client:
        assert client.get_default_database()["notes"].count_documents({}) == 0


def test_wrong_credentials_are_refused_without_access_control_too(mongodb: MongoDB) -> None:
    url = mongodb.url.replace("://", "://agentbus:wrong@")
    with Client(url) as client, pytest.raises(OperationFailure, match="Authentication failed") as error:
        client.admin.command("ping")
    assert error.value.code == 18


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://h:1", "mongodb://h:1/d"),
        ("mongodb://h:1,h:2/x?replicaSet=rs", "mongodb://h:1,h:2/d?replicaSet=rs"),
        ("mongodb://u:p@h:1/", "mongodb://u:p@h:1/d?authSource=admin"),
        ("mongodb://u:p@h:1/x", "mongodb://u:p@h:1/d?authSource=x"),
        ("mongodb://u:p@h:1/x?authSource=y", "mongodb://u:p@h:1/d?authSource=y"),
    ],
)
def test_another_database_does_not_change_where_credentials_are_checked(url: str, expected: str) -> None:
    assert ExternalMongoDB(url).database_url("d") == expected
