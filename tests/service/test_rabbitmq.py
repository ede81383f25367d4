"""The queue on a real RabbitMQ server, with networks, servers and workers that fail."""

from __future__ import annotations

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from threading import Thread
from urllib.parse import urlsplit
from uuid import uuid4

import pika
import psutil
import pytest
from pika.exceptions import AMQPError

from expunge.core.errors import BrokerUnreachable, InputError
from expunge.service import link as link_module
from expunge.service import listener as listener_module
from expunge.service import sender as sender_module
from expunge.service.queue import Depth
from expunge.service.rabbitmq import RabbitQueue
from expunge.testing.proxy import Proxy

pytestmark = pytest.mark.broker

PATIENCE_S = 60.0
LONG_S = 250.0
Opened = Callable[..., RabbitQueue]


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex}"


@pytest.fixture
def opened(broker_url: str, name: str) -> Iterator[Opened]:
    """Opens the test's queue, through another URL if it is told one."""
    yield from opening(broker_url, name)


def opening(broker_url: str, name: str) -> Iterator[Opened]:
    queues: list[RabbitQueue] = []

    def open_(url: str = broker_url) -> RabbitQueue:
        queues.append(RabbitQueue(url, name))
        if url == broker_url:  # publishing waits a second at most, and machines may be busy
            eventually(queues[-1].healthy)
        return queues[-1]

    yield open_
    for queue in queues:
        queue.close()
    delete(broker_url, name)


@pytest.fixture
def proxy(broker_url: str) -> Iterator[Proxy]:
    at = urlsplit(broker_url)
    assert at.hostname is not None
    with Proxy(at.hostname, at.port or 5672) as proxy:
        yield proxy


@pytest.fixture
def through(broker_url: str, proxy: Proxy) -> str:
    """The server's URL through the proxy."""
    return re.sub(r"@[^/]+", f"@127.0.0.1:{proxy.port}", broker_url)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second instead of five, wherever an answer is waited for."""
    for module in (link_module, sender_module):
        monkeypatch.setattr(module, "ANSWER_S", 0.5)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute instead of five seconds, where a busy server is as good as an idle one."""
    for module in (link_module, sender_module):
        monkeypatch.setattr(module, "ANSWER_S", PATIENCE_S)
    monkeypatch.setattr(sender_module, "_CONNECT_S", PATIENCE_S)


def delete(url: str, name: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_delete(name)


def put(url: str, name: str, body: bytes) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_publish("", name, body)


def eventually(true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if true():
                return
        except BrokerUnreachable:
            pass  # not yet
        time.sleep(0.05)
    pytest.fail("it did not come to be so")


def publish_until_taken(queue: RabbitQueue, units: list[int]) -> None:
    """Do as the relay does."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            queue.publish(units)
        except BrokerUnreachable:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the broker did not come back")


def ctl(*arguments: str) -> str:
    done = subprocess.run(
        ["rabbitmqctl", "-q", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


# ── What the server keeps ──


@pytest.mark.usefixtures("patient")
def test_messages_survive_whoever_published_them(opened: Opened) -> None:
    first = opened()
    first.publish([1, 2, 3])
    first.close()
    second = opened()
    taken = []
    for _ in range(3):
        units = second.wait(PATIENCE_S)
        second.ack(units)
        taken += units
    assert sorted(taken) == [1, 2, 3]
    assert second.wait(0.2) == []


@pytest.mark.usefixtures("patient")
def test_messages_are_durable_and_carry_a_number_and_nothing_else(
    opened: Opened, broker_url: str, name: str
) -> None:
    queue = opened()
    queue.publish([42])
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        _, properties, body = channel.basic_get(name)
    assert body == b"42"
    said = {key: value for key, value in vars(properties).items() if value is not None}
    assert said.pop("headers", {}).keys() <= {"x-delivery-count"}  # the server's
    assert said == {"delivery_mode": 2}


@pytest.mark.usefixtures("patient")
def test_a_worker_that_is_killed_before_it_acknowledges_leaves_the_unit_to_others(
    opened: Opened, broker_url: str, name: str
) -> None:
    queue = opened()
    queue.publish([5])
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from expunge.service.rabbitmq import RabbitQueue\n"
            "queue = RabbitQueue(sys.argv[1], sys.argv[2])\n"
            "print(*queue.wait(60), flush=True)\n"
            "time.sleep(60)",
            broker_url,
            name,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "5\n"
        assert queue.wait(0.2) == []
        worker.kill()
    assert worker.returncode == -signal.SIGKILL
    assert queue.wait(PATIENCE_S) == [5]


@pytest.mark.usefixtures("patient")
def test_what_was_not_acknowledged_before_the_next_wait_goes_to_whoever_waits(
    opened: Opened,
) -> None:
    first, second = opened(), opened()
    first.publish([5])
    assert first.wait(PATIENCE_S) == [5]
    assert second.wait(0.2) == []
    assert first.wait(0) == []  # its claim failed
    assert second.wait(PATIENCE_S) == [5]


@pytest.mark.usefixtures("patient")
def test_a_busy_worker_is_given_nothing_that_another_could_begin(opened: Opened) -> None:
    busy, idle = opened(), opened()
    busy.publish([1])
    busy.ack(busy.wait(PATIENCE_S))
    busy.publish([2])
    eventually(lambda: busy.depth().waiting == 1)  # none is in the pocket of the one that builds
    assert idle.wait(PATIENCE_S) == [2]


@pytest.mark.usefixtures("patient")
def test_what_arrives_when_the_wait_is_over_is_not_kept(opened: Opened) -> None:
    queue, taken = opened(), set()
    for unit in range(60):  # deliveries and the ends of waits cross
        Thread(target=queue.publish, args=([unit],)).start()
        units = queue.wait(0.004)
        queue.ack(units)
        taken |= set(units)
    while len(taken) < 60:
        units = queue.wait(PATIENCE_S)
        assert units, f"{60 - len(taken)} units are nowhere"
        queue.ack(units)
        taken |= set(units)
    eventually(lambda: queue.depth() == Depth(0, 0))


@pytest.mark.usefixtures("patient")
def test_a_foreign_message_is_dropped_and_its_text_not_logged(
    opened: Opened, broker_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue = opened()
    queue.publish([1])
    queue.ack(queue.wait(PATIENCE_S))
    for body in (b"anna@example.org", b"", b"9" * 400, b"-1", "²".encode()):
        put(broker_url, name, body)
    queue.publish([2])
    assert queue.wait(PATIENCE_S) == [2]
    assert "no unit's number" in caplog.text
    assert "anna" not in caplog.text


# ── What publishing promises ──


@pytest.mark.usefixtures("patient")
def test_publishing_into_a_deleted_queue_fails_and_makes_it_anew(
    opened: Opened, broker_url: str, name: str
) -> None:
    queue = opened()
    queue.publish([1])
    delete(broker_url, name)
    with pytest.raises(BrokerUnreachable, match="deleted"):
        queue.publish([2])
    publish_until_taken(queue, [3])
    assert queue.wait(PATIENCE_S) == [3]


@pytest.mark.usefixtures("patient")
def test_a_refused_message_fails_its_batch(opened: Opened, broker_alone_policy: None) -> None:
    queue = opened()

    def refused() -> bool:
        try:
            queue.publish([1, 2, 3])
        except BrokerUnreachable as error:
            return "refused a message" in str(error)
        return False

    eventually(refused)
    assert queue.healthy()


@pytest.fixture
def broker_alone_policy(name: str, broker_url: str) -> Iterator[None]:
    """The server refuses messages beyond the second in this test's queue."""
    try:
        ctl("set_policy", name, name, '{"max-length": 2, "overflow": "reject-publish"}')
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("rabbitmqctl cannot set a policy here")
    yield
    ctl("clear_policy", name)


@pytest.mark.usefixtures("patient")
def test_publishing_is_one_round_trip_for_many(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = opened()
    queue.publish([0])
    asked, do = [], link_module.Link.do

    def counted(link: link_module.Link, work: link_module.Work) -> None:
        asked.append(work)
        do(link, work)

    with monkeypatch.context() as patch:
        patch.setattr(link_module.Link, "do", counted)
        queue.publish(range(1, 2001))
    assert len(asked) == 1, "each alone would take 2,000 round trips"
    eventually(lambda: queue.depth().waiting == 2001)


@pytest.mark.usefixtures("patient")
def test_threads_publish_side_by_side(opened: Opened) -> None:
    queue = opened()
    threads = [Thread(target=queue.publish, args=([10 * n, 10 * n + 1],)) for n in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: queue.depth().waiting == 40)


# ── Never deaf ──


def waiting(queue: RabbitQueue) -> tuple[Thread, list[int]]:
    """A worker that waits long and acknowledges; and what it got."""
    taken: list[int] = []

    def work() -> None:
        while units := queue.wait(LONG_S):
            queue.ack(units)
            taken.extend(units)

    thread = Thread(target=work, name="worker", daemon=True)
    thread.start()
    return thread, taken


def test_a_worker_whose_registration_the_server_ends_registers_again(
    opened: Opened,
    broker_url: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listener_module, "_RENEW_S", LONG_S)
    worker, other = opened(), opened()
    thread, taken = waiting(worker)
    for unit in range(3):
        eventually(lambda: other.depth().consumers == 1)
        delete(broker_url, name)
        # basic.cancel arrives; the connection stays
        eventually(lambda n=unit + 1: caplog.text.count("ended a worker's registration") == n)
        publish_until_taken(other, [unit])
        eventually(lambda unit=unit: unit in taken)
    worker.close()
    thread.join()


def test_a_worker_that_the_server_deafens_and_says_nothing_hears_again(
    opened: Opened, broker_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_RENEW_S", 0.5)
    worker, other = opened(), opened()
    thread, taken = waiting(worker)
    for unit in range(3):
        eventually(lambda: other.depth().consumers == 1)
        with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
            channel = connection.channel()
            channel.queue_delete(name)  # and there again before anybody was told
            arguments = {"x-queue-type": "quorum"}
            channel.queue_declare(name, durable=True, arguments=arguments)
        publish_until_taken(other, [unit])
        eventually(lambda unit=unit: unit in taken)
    worker.close()
    thread.join()


def test_dropped_connections_come_back(opened: Opened, proxy: Proxy, through: str) -> None:
    queue = opened(through)
    thread, taken = waiting(queue)
    for unit in range(5):
        publish_until_taken(queue, [unit])
        eventually(lambda unit=unit: unit in taken)
        eventually(lambda: queue.depth().consumers == 1)
        assert proxy.drop() >= 2
    publish_until_taken(queue, [99])
    eventually(lambda: 99 in taken)
    eventually(queue.healthy)
    queue.close()
    thread.join()


@pytest.mark.usefixtures("impatient")
def test_a_frozen_connection_fails_in_time_and_is_given_up(
    opened: Opened, proxy: Proxy, through: str
) -> None:
    queue = opened(f"{through}?heartbeat=0")  # silence alone would end it, later
    publish_until_taken(queue, [1])
    proxy.freeze()
    with pytest.raises(BrokerUnreachable, match="no answer"):
        queue.publish([2])
    eventually(lambda: not queue.healthy())
    assert proxy.drop()  # what was frozen is lost, as packets are
    proxy.thaw()
    publish_until_taken(queue, [3])


@pytest.mark.usefixtures("impatient")
def test_a_worker_on_a_frozen_connection_notices_and_comes_back(
    opened: Opened, proxy: Proxy, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_RENEW_S", 0.3)
    queue, other = opened(f"{through}?heartbeat=0"), opened()
    thread, taken = waiting(queue)
    eventually(lambda: other.depth().consumers == 1)
    proxy.freeze()
    # Nothing is sent to it, and nothing tells it: only that registering anew is not answered.
    eventually(lambda: not queue.healthy())
    proxy.drop()
    proxy.thaw()
    publish_until_taken(other, [8])
    eventually(lambda: 8 in taken)
    queue.close()
    thread.join()


def test_silence_ends_a_connection_that_nobody_uses(
    opened: Opened, proxy: Proxy, through: str
) -> None:
    queue = opened(f"{through}?heartbeat=1")
    publish_until_taken(queue, [1])
    proxy.freeze()
    eventually(lambda: not queue.healthy())


def test_a_connection_that_the_server_closes_comes_back(opened: Opened) -> None:
    queue = opened()
    queue.publish([1])
    (ours,) = [c for c in psutil.Process().net_connections("tcp") if c.raddr[1:] == (5672,)]
    listed = ctl("list_connections", "pid", "peer_port").splitlines()
    (pid,) = [line.split()[0] for line in listed if line.split()[1:] == [str(ours.laddr[1])]]
    ctl("close_connection", pid, "an operator's reason")
    publish_until_taken(queue, [2])  # perhaps twice: the first may break with the connection
    eventually(lambda: queue.depth().waiting >= 2)


# ── Where there is no server ──


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that nobody listens at, and nobody else is given meanwhile."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield int(kept.getsockname()[1])


def test_publishing_to_nobody_fails_soon(opened: Opened, deaf_port: int) -> None:
    queue = opened(f"amqp://guest:guest@127.0.0.1:{deaf_port}/%2F")
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="does not answer"):
        queue.publish([1])
    with pytest.raises(BrokerUnreachable):
        queue.depth()
    assert queue.wait(0.1) == []
    assert not queue.healthy()
    queue.publish([])  # nothing is no trouble
    queue.close()
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing_is_given_up_and_closing_does_not_wait_for_it(
    opened: Opened,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        queue = opened(f"amqp://guest:guest@127.0.0.1:{mute.getsockname()[1]}/%2F")
        with pytest.raises(BrokerUnreachable):
            queue.publish([1])
        eventually(lambda: accepted_twice(mute))
        began = time.monotonic()
        queue.close()
        assert time.monotonic() - began < PATIENCE_S / 2


def accepted_twice(server: socket.socket) -> bool:
    """It gave up and tried again."""
    server.settimeout(PATIENCE_S)
    for _ in range(2):
        server.accept()[0].close()
    return True


@pytest.mark.parametrize(
    "url",
    ["", "hunter2", "http://a:hunter2@host", "amqp://a:hunter2@host:port/", "amqp://[hunter2"],
)
def test_an_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InputError, match="amqp://user:password@host") as refused:
        RabbitQueue(url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("user", ["guest", "nobody"])
def test_credentials_are_not_logged(
    opened: Opened, broker_url: str, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    at = urlsplit(broker_url)
    url = f"amqp://{user}:hunter2@{at.hostname}:{at.port or 5672}/%2F"
    pika_log = logging.getLogger("pika")
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "pika"):
        queue = opened(url)
        with pytest.raises(BrokerUnreachable) as failed:
            queue.publish([1])
        queue.wait(0.1)
        eventually(lambda: "Authentication" in caplog.text)
        queue.close()
    assert pika_log.level == logging.CRITICAL, "otherwise it tells each failure five times"
    for text in (caplog.text, str(failed.value), repr(queue), repr(vars(queue))):
        assert "hunter2" not in text


# ── Closing ──


@pytest.mark.parametrize("state", ["idle", "waiting", "holding", "frozen"])
@pytest.mark.usefixtures("impatient")
def test_closing_leaves_no_thread_and_no_socket(
    opened: Opened, proxy: Proxy, through: str, state: str
) -> None:
    others = set(threading.enumerate())
    queue = opened(through)
    publish_until_taken(queue, [1])
    assert queue.wait(PATIENCE_S) == [1]
    if state != "holding":
        queue.ack([1])
    workers = [waiting(queue)[0]] if state == "waiting" else []
    if state == "frozen":
        proxy.freeze()
    began = time.monotonic()
    queue.close()
    assert time.monotonic() - began < PATIENCE_S
    for worker in workers:
        worker.join()
    proxy.thaw()
    left = {t.name for t in threading.enumerate() if t not in others}
    assert not [name for name in left if name.startswith("expunge")]
    connections = psutil.Process().net_connections("tcp")
    assert [c for c in connections if c.raddr and c.raddr[1] == proxy.port] == []
    with pytest.raises(BrokerUnreachable):
        queue.publish([2])


# ── The whole server, alone ──


@pytest.fixture
def alone(broker_alone: str, name: str) -> Iterator[Opened]:
    yield from opening(broker_alone, name)


def test_a_server_that_is_stopped_and_started_is_used_again(alone: Opened) -> None:
    queue = alone()
    thread, taken = waiting(queue)
    publish_until_taken(queue, [1])
    eventually(lambda: 1 in taken)
    try:
        ctl("stop_app")
        with pytest.raises(BrokerUnreachable):
            queue.publish([2])
        eventually(lambda: not queue.healthy())
    finally:
        ctl("start_app")
    publish_until_taken(queue, [3])
    eventually(lambda: 3 in taken)
    eventually(queue.healthy)
    queue.close()
    thread.join()


def is_refused(queue: RabbitQueue) -> bool:
    try:
        queue.publish([2])
    except BrokerUnreachable:
        return True
    return False


@pytest.mark.usefixtures("impatient")
def test_a_server_without_memory_is_not_healthy_until_it_has_some(alone: Opened) -> None:
    queue = alone()
    publish_until_taken(queue, [1])
    try:
        ctl("set_vm_memory_high_watermark", "absolute", "1")
        eventually(lambda: is_refused(queue))  # the server takes a moment to tell
        eventually(lambda: not queue.healthy())
        assert queue.wait(PATIENCE_S)[0] == 1, "what is there can still be taken"
    finally:
        ctl("set_vm_memory_high_watermark", "0.4")
    publish_until_taken(queue, [3])
    eventually(queue.healthy)


def test_without_a_server_tests_are_skipped(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, deaf_port: int
) -> None:
    servers = request.config.pluginmanager.getplugin(str(request.config.rootpath / "conftest.py"))
    monkeypatch.setenv("EXPUNGE_TEST_RABBITMQ", f"amqp://a:b@127.0.0.1:{deaf_port}/%2F")
    monkeypatch.setattr(servers, "CI", False)
    with pytest.raises(pytest.skip.Exception):
        request.getfixturevalue("broker_url")
    monkeypatch.setattr(servers, "CI", True)
    with pytest.raises(AMQPError):
        servers._answering_broker()
