"""Services in containers, against a stand-in for Docker: which calls they make, and in which order."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from docker.errors import DockerException  # type: ignore[import-untyped]  # it ships no annotations

from tests.services import ServiceError, choose, containers, private_mongodb, private_rabbitmq
from tests.services.containers import ContainerMongoDB, ContainerRabbitMQ, docker_answers


class Result(NamedTuple):
    exit_code: int
    output: bytes


class FakeContainer:
    """As much of testcontainers' DockerContainer, and of Docker's own container, as the services use."""

    def __init__(self, image: str) -> None:
        self.calls = [f"create {image}"]
        self.status = "absent"
        self.result = Result(0, b"fine")

    def with_bind_ports(self, inner: int, outer: int) -> "FakeContainer":
        assert 15_000 <= outer < 30_000
        self.calls.append(f"bind {inner}")
        return self

    def with_env(self, name: str, value: str) -> "FakeContainer":
        self.calls.append(f"env {name}={value}")
        return self

    def with_command(self, command: str) -> "FakeContainer":
        self.calls.append(f"run {command}")
        return self

    def get_container_host_ip(self) -> str:
        return "docker.example"

    def get_exposed_port(self, port: int) -> int:
        return port + 10_000

    def get_wrapped_container(self) -> "FakeContainer":
        return self

    def exec(self, command: list[str]) -> Result:
        self.calls.append(" ".join(command))
        return self.result

    def reload(self) -> None:
        pass

    def start(self) -> None:
        self._become("running", "start")

    def stop(self, timeout: int | None = None) -> None:
        self._become("exited", "stop" if timeout else "remove")

    def kill(self) -> None:
        self._become("exited", "kill")

    def pause(self) -> None:
        self._become("paused", "pause")

    def unpause(self) -> None:
        self._become("running", "unpause")

    def _become(self, status: str, call: str) -> None:
        self.status = status
        self.calls.append(call)


@pytest.fixture(autouse=True)
def _docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testcontainers.core.container.DockerContainer", FakeContainer)
    monkeypatch.setattr(containers, "answers_amqp", lambda host, port: (host, port) == ("docker.example", 15672))
    monkeypatch.setattr(containers, "answers_mongodb", lambda url: "docker.example:37017" in url)
    monkeypatch.setattr(choose, "docker_answers", lambda: True)


def calls(service: Any) -> list[str]:
    return list(service._container.calls)


def test_a_container_is_killed_frozen_restarted_and_removed() -> None:
    with private_mongodb() as service:
        assert isinstance(service, ContainerMongoDB)
        assert service.url == "mongodb://docker.example:37017/?directConnection=true"
        service.kill()
        service.kill()
        service.start()
        service.pause()
        service.start()
        service.restart()
    service.close()
    life = ["kill", "start", "pause", "unpause", "stop", "start", "remove"]
    assert calls(service) == ["create mongo:7.0", "bind 27017", "start", *life]


def test_virtual_hosts_are_made_inside_the_container() -> None:
    with private_rabbitmq() as service:
        assert isinstance(service, ContainerRabbitMQ)
        with service.fresh_vhost() as url:
            assert url.startswith("amqp://guest:guest@docker.example:15672/test-")
        service.sync()
    commands = [call.split("(")[0] for call in calls(service) if call.startswith("rabbitmqctl")]
    prefix = "rabbitmqctl --silent eval "
    assert commands == [prefix + "rabbit_vhost:add", prefix + "rabbit_vhost:delete", prefix + "mnesia:sync_log"]


def test_a_command_that_fails_inside_the_container_is_an_error() -> None:
    with private_rabbitmq() as service:
        assert isinstance(service, ContainerRabbitMQ)
        service._container.result = Result(70, b"no such node")  # type: ignore[attr-defined]  # the stand-in's
        with pytest.raises(ServiceError, match="no such node"):
            service.ctl("status")


def test_a_container_that_was_never_started_has_no_address() -> None:
    service = private_mongodb()
    service.stop()
    service.kill()
    service.close()
    with pytest.raises(ServiceError, match=r"mongo:7\.0 is not started"):
        assert service.url


def test_no_engine_behind_the_docker_address_means_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert docker_answers() is False


def test_docker_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one of four threads: each would set what is warned of, for all the process, while it asks."""
    asked: list[dict[str, Any]] = []

    def never(**given: Any) -> None:
        asked.append(given)
        time.sleep(0.05)
        raise DockerException

    monkeypatch.setattr("testcontainers.core.docker_client.DockerClient", never)
    monkeypatch.setattr(containers, "_answered", {})
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(docker_answers) for _ in range(4)]
        assert [one.result() for one in answers] == [False] * 4
    assert len(asked) == 1
