"""Private Redis servers: killed, paused, those of others, and clusters of them."""

import pytest

from tests.services import (
    LOOPBACK,
    LocalRedis,
    NotOurs,
    RedisServer,
    StartFailed,
    external,
    free_port,
    private_redis,
    shared_redis,
)
from tests.services.ports import listens
from tests.services.redis import SURE
from tests.services.test_containers import FakeContainer


def test_what_was_written_outlives_a_kill_and_nothing_outlives_the_end() -> None:
    with LocalRedis(**SURE) as server:
        with server.client() as client:
            client.set("note", "1")

        server.pause()
        assert server.running
        assert not server.ready()
        server.start()
        server.kill()
        assert not listens(server.port)
        server.restart()
        with server.client() as client:
            assert client.get("note") == b"1"
    assert not listens(server.port)
    assert not server.folder.exists()


def test_each_fresh_prefix_is_new_and_its_keys_are_deleted(redis: RedisServer) -> None:
    with redis.client() as client:
        with redis.fresh_database() as first, redis.fresh_database() as second:
            assert first != second
            prefixes = [url.rpartition("=")[2] for url in (first, second)]
            client.set(f"{prefixes[0]}:a", 1)
            client.set("other", 1)
        assert client.exists("other")
        assert not client.exists(f"{prefixes[0]}:a")
        client.delete("other")


def test_server_of_somebody_else_is_used_and_never_stopped(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.REDIS_URL, redis.url)
    with shared_redis() as server, server.fresh_database() as url:
        assert url.startswith(redis.url)
        for forbidden in (server.stop, server.kill, server.pause, server.resume):
            with pytest.raises(NotOurs, match=external.REDIS_URL):
                forbidden()

    monkeypatch.setattr(external, "_START_SECONDS", 0.0)
    monkeypatch.setenv(external.REDIS_URL, f"redis://{LOOPBACK}:{free_port()}/0")
    with pytest.raises(StartFailed, match=external.REDIS_URL):
        shared_redis().start()


def test_server_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("testcontainers.core.container.DockerContainer", FakeContainer)
    monkeypatch.setattr("tests.services.choose.docker_answers", lambda: True)
    monkeypatch.setattr(RedisServer, "answers", lambda server: not asked.append(server.url))  # type: ignore[func-returns-value]  # it is what is asked

    with private_redis() as server:
        url = server.url
        assert url == "redis://docker.example:16379/0"
        assert "run redis-server --appendonly yes --appendfsync always" in server._container.calls  # type: ignore[attr-defined]  # the fake's
    assert asked == [url]
