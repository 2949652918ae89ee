"""The processes of a run share its services: started for the first that asks, and ended with the run."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Client
from typing import ClassVar, Self

import aio_pika
import pytest

from tests.services import LocalRabbitMQ, NotOurs, ServiceError, StartFailed, lending, private_redis, shared_redis
from tests.services.external import REDIS_URL
from tests.services.lending import LENDER, Lender, LentRabbitMQ, lent
from tests.services.redis import LocalRedis


class Counted(LocalRedis):
    """A server that tells how many were started and closed."""

    started: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def start(self) -> Self:
        if not self.running:
            type(self).started += 1
        return super().start()

    def close(self) -> None:
        type(self).closed += 1
        super().close()


class Broken(LocalRedis):
    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "echo no room left; exit 3"]


@pytest.fixture(autouse=True)
def lender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lender]:
    """Lend servers that count themselves, and give the lender."""
    monkeypatch.setattr(lending, "_KINDS", {"redis": Counted, "mariadb": Broken})
    monkeypatch.setattr(lending, "docker_answers", lambda: False)
    monkeypatch.delenv(REDIS_URL, raising=False)
    Counted.started = Counted.closed = 0
    with Lender() as lender:
        monkeypatch.setenv(LENDER, lender.address)
        yield lender


def test_all_who_ask_at_once_get_the_same_one() -> None:
    with ThreadPoolExecutor(5) as asking:
        found = list(asking.map(lambda _: shared_redis(), range(5)))
    assert (Counted.started, Counted.closed) == (1, 0)
    assert len({one.url for one in found}) == 1
    with found[0] as first, first.fresh_database() as url:  # leaving it does not end it for the others
        assert url.startswith(found[1].url)
    assert found[1].answers()


def test_it_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lender() as run:
        monkeypatch.setenv(LENDER, run.address)
        service = shared_redis()
    assert (Counted.started, Counted.closed) == (1, 1)
    assert not service.answers()
    with pytest.raises(StartFailed, match="redis: the run that lends its services is gone"):
        lent("redis")


def test_one_that_is_being_started_when_the_run_ends_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lender() as run:
        monkeypatch.setenv(LENDER, run.address)
        with Client(run.address, "AF_UNIX") as asking:
            asking.send("redis")
    assert (Counted.started, Counted.closed) == (1, 1)


def test_who_goes_without_asking_holds_nobody_up() -> None:
    Client(os.environ[LENDER], "AF_UNIX").close()
    assert lent("redis") is not None


def test_nobody_ends_what_others_use() -> None:
    service = shared_redis()
    for forbidden in (service.stop, service.kill, service.pause, service.resume):
        with pytest.raises(NotOurs, match="the service of all the run"):
            forbidden()


def test_one_that_cannot_be_started_is_told_to_each_who_asks() -> None:
    for _ in range(2):
        with pytest.raises(StartFailed, match="no room left"):
            lent("mariadb")


def test_no_answer_is_told_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "_ASKING_SECONDS", 0.05)
    monkeypatch.setattr(lending, "docker_answers", lambda: time.sleep(0.5))
    with pytest.raises(StartFailed, match=r"did not answer for 0\.05 s"):
        lent("redis")


def test_who_connects_and_says_nothing_holds_nobody_up() -> None:
    with Client(os.environ[LENDER], "AF_UNIX"):
        assert lent("redis") is not None


def test_who_says_nothing_is_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "_SAYING_SECONDS", 0.05)
    with Client(os.environ[LENDER], "AF_UNIX") as silent:
        assert silent.poll(10)
        with pytest.raises(EOFError):
            silent.recv()


def test_where_docker_answers_and_in_a_run_of_one_process_each_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "docker_answers", lambda: True)
    assert lent("redis") is None
    monkeypatch.delenv(LENDER)
    assert lent("redis") is None
    with shared_redis() as own, private_redis() as another:
        assert own.url != another.url


async def test_a_lent_broker_keeps_tests_apart(mortal_rabbitmq: LocalRabbitMQ) -> None:
    broker = LentRabbitMQ(mortal_rabbitmq.url, mortal_rabbitmq.told).start()
    with broker.fresh_vhost() as url:
        async with await aio_pika.connect(url, timeout=60) as connection, connection.channel() as channel:
            await channel.declare_queue("orders")
    broker.sync()
    assert url.rpartition("/")[2] not in broker.ctl("list_vhosts")
    mortal_rabbitmq.kill()
    assert not broker.ready()
    with pytest.raises(ServiceError, match="failed to connect to node"):
        broker.create_vhost("x")
