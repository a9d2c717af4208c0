"""The AMQP checks against a broker of a hundred lines, which breaks in every way that a test asks for."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from ocf_common import amqp_check
from ocf_common.connection_urls import BrokerAddress
from ocf_common.deadline import Deadline
from ocf_common.outcomes import DependencyDown, Misconfigured, Silent, WrongAnswer

QUEUE = "scheduler.controller"
CAPABILITIES = {"capabilities": {"publisher_confirms": True, "basic.nack": True, "connection.blocked": True}}
RESULT = {"result": {"service": "scheduler"}, "failure": None, "ending": True}


def failure(kind: str) -> dict:
    return {"result": None, "failure": json.dumps({"class": kind, "message": "no"}), "ending": True}


class FakeBroker:
    """As much of RabbitMQ as a check sees; the attributes say how it behaves."""

    def __init__(self) -> None:
        self.password = "p@ss/w:rd"
        self.capabilities: dict = CAPABILITIES
        self.closes_with = (0, "")  # connection.close instead of open-ok
        self.channel_closes_with = (0, "")  # channel.close instead of an answer to the passive declare
        self.queues = {QUEUE: 1}  # name: consumers
        self.exchanges = {"", "nova"}
        self.replies = [RESULT]  # of the daemon, to each ping; empty: it is silent
        self.reply_body: bytes | None = None
        self.confirm: type | None = spec.Basic.Ack
        self.alarm = False
        self.silent_after: type | None = None  # the method after which it says nothing any more
        self.drops_at: type | None = None  # the method at which it drops the connection
        self.answer_delay = threading.Event()
        self.answer_delay.set()
        self.pings: list[dict] = []
        self.expirations: list[str] = []
        self.names: list[bytes] = []
        self.closed_properly = 0
        self.context: ssl.SSLContext | None = None
        self.port = 0

    def address(self, **changes: object) -> BrokerAddress:
        address = BrokerAddress("127.0.0.1", self.port, "nova", self.password, "/nova")
        for name, value in changes.items():
            setattr(address, name, value)
        return address

    def converse(self, connection: socket.socket) -> None:
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        with connection:
            Conversation(self, connection).talk()


class Conversation:
    """One connection to the fake broker."""

    def __init__(self, broker: FakeBroker, connection: socket.socket) -> None:
        self.broker = broker
        self.socket = connection
        self.confirming = False
        self.delivered = 0
        self.tag = ""
        self.method: object = None
        self.header: object = None

    def send(self, method: object, channel: int = 0) -> None:
        self.socket.sendall(frame.Method(channel, method).marshal())

    def content(self, method: object, properties: spec.BasicProperties, body: bytes) -> None:
        parts = [frame.Method(1, method), frame.Header(1, len(body), properties)]
        parts += [frame.Body(1, body)] if body else []
        self.socket.sendall(b"".join(part.marshal() for part in parts))

    def hang(self) -> bool:
        """Read until the other end closes, and say nothing; False ends the conversation."""
        while self.socket.recv(65536):
            pass
        return False

    def talk(self) -> None:
        if self.socket.recv(8) != b"AMQP\x00\x00\x09\x01":
            return
        if self.broker.silent_after is frame.ProtocolHeader:
            self.hang()
            return
        self.send(spec.Connection.Start(0, 9, self.broker.capabilities, "PLAIN", "en_US"))
        buffer = b""
        while True:
            received = self.socket.recv(65536)
            if not received:
                return
            buffer += received
            while True:
                used, item = frame.decode_frame(buffer)
                if item is None:
                    break
                buffer = buffer[used:]
                if not self.handle(item):
                    return

    def handle(self, item: object) -> bool:
        if isinstance(item, frame.Header):
            self.header = item
            return item.body_size != 0 or self.published(b"")
        if isinstance(item, frame.Body):
            return self.published(item.fragment)
        if not isinstance(item, frame.Method):
            return True
        method = self.method = item.method
        if isinstance(method, self.broker.drops_at or ()):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(method, self.broker.silent_after or ()):
            return self.hang()
        handler = getattr(self, method.NAME.replace(".", "_").lower().replace("-", "_"), None)
        return True if handler is None else handler(method) is not False

    def connection_startok(self, method: spec.Connection.StartOk) -> None:
        self.broker.names.append(method.client_properties["connection_name"])
        if method.response != f"\0nova\0{self.broker.password}".encode():
            self.send(spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))
        else:
            self.send(spec.Connection.Tune(2047, 131072, 60))

    def connection_open(self, _method: spec.Connection.Open) -> None:
        code, text = self.broker.closes_with
        self.send(spec.Connection.Close(code, text, 0, 0) if code else spec.Connection.OpenOk())

    def connection_close(self, _method: spec.Connection.Close) -> bool:
        self.broker.closed_properly += 1
        self.send(spec.Connection.CloseOk())
        return False

    def channel_open(self, _method: spec.Channel.Open) -> None:
        self.send(spec.Channel.OpenOk(), 1)

    def channel_close(self, _method: spec.Channel.Close) -> None:
        self.send(spec.Channel.CloseOk(), 1)

    def confirm_select(self, method: spec.Confirm.Select) -> None:
        self.confirming = True
        self.delivered = 0
        if not method.nowait:
            self.send(spec.Confirm.SelectOk(), 1)

    def basic_consume(self, method: spec.Basic.Consume) -> None:
        self.tag = method.consumer_tag
        if not method.nowait:
            self.send(spec.Basic.ConsumeOk(self.tag), 1)

    def queue_declare(self, method: spec.Queue.Declare) -> None:
        code, text = self.broker.channel_closes_with
        if not method.passive:
            return
        if code:
            self.send(spec.Channel.Close(code, text, 0, 0), 1)
        elif method.queue in self.broker.queues:
            self.send(spec.Queue.DeclareOk(method.queue, 0, self.broker.queues[method.queue]), 1)
        else:
            self.send(spec.Channel.Close(404, "NOT_FOUND - no queue", 0, 0), 1)

    def published(self, body: bytes) -> bool:
        method, broker = self.method, self.broker
        if broker.alarm:
            self.send(spec.Connection.Blocked("low on memory"))
            return self.hang()
        if method.exchange not in broker.exchanges:
            self.send(spec.Channel.Close(404, "NOT_FOUND - no exchange 'nova'", 0, 0), 1)
            return True
        routed = method.routing_key in broker.queues
        if method.mandatory and not routed:
            returned = spec.Basic.Return(312, "NO_ROUTE", method.exchange, method.routing_key)
            self.content(returned, self.header.properties, body)
        if self.confirming:
            self.delivered += 1
            if broker.confirm:
                self.send(broker.confirm(self.delivered), 1)
        if routed:
            self.deliver(body)
        return True

    def deliver(self, body: bytes) -> None:
        call = json.loads(json.loads(body)["oslo.message"])
        self.broker.pings.append(call)
        self.broker.expirations.append(self.header.properties.expiration)
        assert self.broker.answer_delay.wait(10)
        for reply in self.broker.replies:
            inner = {**reply, "_msg_id": call["_msg_id"], "_unique_id": "1"}
            text = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode()
            delivery = spec.Basic.Deliver(self.tag, 1, False, "", call["_reply_q"])
            properties = spec.BasicProperties(content_type="application/json")
            self.content(delivery, properties, self.broker.reply_body or text)


@pytest.fixture
def broker(serve):
    fake = FakeBroker()
    fake.port = serve(fake.converse).port
    return fake


def ping(broker: FakeBroker, seconds: float = 5, **changes: object) -> amqp_check.Ping:
    address = broker.address(**changes)
    return amqp_check.ping([address], "nova", "scheduler", "controller", Deadline(seconds), "nova-scheduler")


def test_a_ping_is_answered_and_leaves_nothing_behind(broker):
    answer = ping(broker)
    assert answer.consumers == 1
    assert answer.broker == f"127.0.0.1:{broker.port}"
    assert 0 < answer.seconds < 5
    assert broker.closed_properly == 1
    assert broker.names == ["ocf:nova-scheduler"]


def test_a_ping_is_the_call_that_every_release_answers(broker):
    ping(broker)
    (call,) = broker.pings
    assert (call["method"], call["namespace"], call["version"]) == ("ping", "baseapi", "1.0")
    assert call["args"] == {"arg": "ocf"}
    assert call["_reply_q"].startswith("reply_")
    assert len(call["_msg_id"]) == 32


def test_a_ping_lives_no_longer_than_its_time_limit(broker):
    ping(broker, seconds=3)
    assert 2000 < int(broker.expirations[0]) <= 3000


@pytest.mark.parametrize("kind", amqp_check.ANSWERING_FAILURES)
def test_a_daemon_that_knows_no_ping_answers_all_the_same(broker, kind):
    broker.replies = [failure(kind)]
    assert ping(broker).consumers == 1


def test_another_failure_is_a_wrong_answer(broker):
    broker.replies = [failure("DBConnectionError")]
    with pytest.raises(WrongAnswer, match=r"scheduler.controller answers a ping with DBConnectionError"):
        ping(broker)


def test_an_answer_to_somebody_else_is_not_ours(broker):
    broker.reply_body = b'{"oslo.message": "{}"}'
    with pytest.raises(Silent):
        ping(broker, seconds=0.4)


def test_silence_of_the_daemon_is_told_from_silence_of_the_broker(broker):
    broker.replies = []
    with pytest.raises(Silent, match=r"^scheduler.controller gave no answer to a ping within 0.\d s$"):
        ping(broker, seconds=0.4)
    assert broker.closed_properly == 1


def test_a_queue_without_consumers_is_found_at_once_and_gets_no_ping(broker):
    broker.queues = {QUEUE: 0}
    began = time.monotonic()
    with pytest.raises(amqp_check.NoConsumer, match=r"nobody consumes scheduler.controller"):
        ping(broker)
    assert time.monotonic() - began < 2
    assert not broker.pings


def test_a_queue_that_was_never_declared(broker):
    broker.queues = {}
    with pytest.raises(amqp_check.NeverConnected, match=r"has no queue scheduler.controller"):
        ping(broker)


def test_an_exchange_that_was_never_declared(broker):
    broker.exchanges = {""}
    with pytest.raises(amqp_check.NeverConnected):
        ping(broker)


def test_a_queue_that_may_not_be_read_is_this_nodes_configuration(broker):
    broker.channel_closes_with = (403, "ACCESS_REFUSED - access to queue refused for user 'nova'")
    with pytest.raises(Misconfigured, match="ACCESS_REFUSED"):
        ping(broker)


def test_a_broken_queue_is_the_brokers_fault(broker):
    broker.channel_closes_with = (541, "INTERNAL_ERROR")
    with pytest.raises(DependencyDown, match="closed the channel: INTERNAL_ERROR"):
        ping(broker)


def test_an_alarm_is_the_brokers_fault_and_no_ping_is_sent_into_it(broker):
    broker.alarm = True
    with pytest.raises(DependencyDown, match=r"has stopped publishers \(low on memory\)") as caught:
        ping(broker)
    assert caught.value.dependency == "broker"
    assert not broker.pings


@pytest.mark.parametrize("confirm", [spec.Basic.Nack, None])
def test_a_message_that_is_not_confirmed_is_the_brokers_fault(broker, confirm):
    broker.confirm = confirm
    broker.replies = []
    with pytest.raises(DependencyDown, match=r"refuses to store|does not confirm a message within"):
        ping(broker, seconds=0.5)


@pytest.mark.parametrize(
    "method",
    [frame.ProtocolHeader, spec.Connection.StartOk, spec.Connection.Open, spec.Channel.Open, spec.Confirm.Select,
     spec.Queue.Declare],
)  # fmt: skip
def test_a_broker_that_freezes_at_any_step_is_named_within_the_time_limit(broker, method):
    broker.silent_after = method
    began = time.monotonic()
    with pytest.raises(DependencyDown, match=r"RabbitMQ at 127.0.0.1:\d+ does not answer within 0.\d s"):
        ping(broker, seconds=0.4)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "method",
    [spec.Connection.StartOk, spec.Connection.Open, spec.Channel.Open, spec.Confirm.Select, spec.Basic.Publish],
)
def test_a_broker_that_drops_the_connection_at_any_step_is_named(broker, method):
    broker.drops_at = method
    with pytest.raises(DependencyDown, match=r"resets connections|closes connections at once"):
        ping(broker)


def test_a_broker_that_dies_while_the_daemon_works_is_named(broker):
    with amqp_check.Pinger([broker.address()], "nova", "scheduler", "controller", Deadline(5)) as pinger:
        broker.drops_at = spec.Basic.Publish
        with pytest.raises(DependencyDown, match="resets connections"):
            pinger.wait(3)


@pytest.mark.parametrize(
    "code, text, finding, words",
    [
        (530, "NOT_ALLOWED - vhost /nova not found", Misconfigured, "has no virtual host '/nova'"),
        (530, "NOT_ALLOWED - access to vhost '/nova' refused for user 'nova'", Misconfigured, "refuses user 'nova'"),
        (530, "NOT_ALLOWED - vhost '/nova' is down", DependencyDown, "takes no connection"),
        (530, "NOT_ALLOWED - connection limit (1) is reached", DependencyDown, "takes no connection"),
        (320, "CONNECTION_FORCED - broker forced connection closure", DependencyDown, "takes no connection"),
    ],
)
def test_what_the_broker_says_when_it_refuses(broker, code, text, finding, words):
    broker.closes_with = (code, text)
    with pytest.raises(finding, match=words):
        amqp_check.ask([broker.address()], Deadline(5))


def test_a_refused_login_is_this_nodes_configuration_and_shows_no_password(broker):
    with pytest.raises(Misconfigured, match="refuses the login of user 'nova'") as caught:
        amqp_check.ask([broker.address(password="wrong-secret")], Deadline(5))
    assert "wrong-secret" not in caught.value.reason


def test_a_port_that_refuses(closed_port):
    with pytest.raises(DependencyDown) as caught:
        amqp_check.ask([BrokerAddress("127.0.0.1", closed_port)], Deadline(5))
    assert caught.value.reason == f"RabbitMQ at 127.0.0.1:{closed_port} refuses connections"


def test_a_name_that_nobody_knows():
    with pytest.raises(DependencyDown, match=r"RabbitMQ at broker.invalid:5672 cannot be resolved"):
        amqp_check.ask([BrokerAddress("broker.invalid")], Deadline(5))


def test_hosts_are_tried_in_turn(broker, closed_port):
    addresses = [BrokerAddress("127.0.0.1", closed_port), broker.address()]
    assert amqp_check.ask(addresses, Deadline(5)) == f"127.0.0.1:{broker.port}"


def test_all_hosts_are_named_when_all_are_down(broker, closed_port):
    broker.silent_after = frame.ProtocolHeader
    addresses = [BrokerAddress("127.0.0.1", closed_port), broker.address()]
    with pytest.raises(DependencyDown, match=r"refuses connections; RabbitMQ at .* does not answer within [\d.]+ s"):
        amqp_check.ask(addresses, Deadline(2))


def test_a_refused_login_weighs_more_than_a_dead_second_host(broker, closed_port):
    addresses = [broker.address(password="wrong"), BrokerAddress("127.0.0.1", closed_port)]
    with pytest.raises(Misconfigured):
        amqp_check.ask(addresses, Deadline(5))


def test_no_host_at_all():
    with pytest.raises(Misconfigured, match="no message broker is configured"):
        amqp_check.ask([], Deadline(5))


def test_another_product_that_speaks_amqp(broker):
    broker.capabilities = {}
    with pytest.raises(Misconfigured, match="it is no RabbitMQ"):
        amqp_check.ask([broker.address()], Deadline(5))


def test_the_dependency_question_sees_an_alarm(broker):
    broker.alarm = True
    with pytest.raises(DependencyDown, match="has stopped publishers"):
        amqp_check.ask([broker.address()], Deadline(5))


def test_tls_towards_a_port_without_tls(broker):
    with pytest.raises(DependencyDown, match=r"resets connections|closes connections at once"):
        amqp_check.ask([broker.address(tls=True)], Deadline(5))


@pytest.fixture
def tls_broker(broker, authority):
    chain = authority.issue("rabbit", "20400101000000Z", "DNS:rabbit.example")
    broker.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    broker.context.load_cert_chain(chain)
    broker.chain = chain
    return broker


def test_tls_is_verified_as_the_daemons_do_it_by_the_chain_and_not_by_the_name(tls_broker, authority):
    assert ping(tls_broker, tls=True, ssl_ca_file=authority.ca_file).consumers == 1


def test_a_certificate_that_nobody_vouches_for_is_this_nodes_configuration(tls_broker):
    with pytest.raises(Misconfigured, match="has a certificate that cannot be verified: unable to get local issuer"):
        ping(tls_broker, tls=True)


def test_a_client_certificate_is_shown(tls_broker, authority):
    tls_broker.context.verify_mode = ssl.CERT_REQUIRED
    tls_broker.context.load_verify_locations(authority.ca_file)
    shown = {"ssl_cert_file": tls_broker.chain, "ssl_key_file": tls_broker.chain}
    assert ping(tls_broker, tls=True, ssl_ca_file=authority.ca_file, **shown).consumers == 1


def test_no_tls_towards_a_port_with_tls(tls_broker):
    with pytest.raises(DependencyDown, match=r"closes connections at once|resets connections"):
        ping(tls_broker)


def test_tls_files_that_are_missing_are_this_nodes_configuration(broker):
    with pytest.raises(Misconfigured, match="TLS files cannot be loaded"):
        amqp_check.ask([broker.address(tls=True, ssl_ca_file="/nonexistent/ca.pem")], Deadline(5))


@pytest.mark.parametrize("method", [frame.ProtocolHeader, spec.Channel.Open])
def test_the_way_to_the_broker_can_have_a_shorter_limit(broker, method):
    broker.silent_after = method
    began = time.monotonic()
    with pytest.raises(DependencyDown, match="does not answer within"):
        amqp_check.Pinger([broker.address()], "nova", "s", "h", Deadline(20), connecting=Deadline(0.3))
    assert time.monotonic() - began < 5


def test_waiting_for_a_daemon_that_has_not_declared_its_queue_yet(broker):
    broker.queues = {}
    with amqp_check.Pinger([broker.address()], "nova", "scheduler", "controller", Deadline(10)) as pinger:
        with pytest.raises(amqp_check.NeverConnected):
            pinger.wait(0.15)
        broker.queues = {QUEUE: 1}
        assert pinger.wait(5).consumers == 1
        assert pinger.wait(5).consumers == 1
    assert broker.closed_properly == 1


def test_waiting_for_a_daemon_whose_exchange_does_not_exist_yet(broker):
    broker.exchanges = {""}
    with amqp_check.Pinger([broker.address()], "nova", "scheduler", "controller", Deadline(10)) as pinger:
        with pytest.raises(amqp_check.NeverConnected):
            pinger.wait(0.15)
        broker.exchanges = {"", "nova"}
        assert pinger.wait(5).consumers == 1


def test_waiting_sends_one_ping_however_often_it_is_called(broker):
    broker.answer_delay.clear()
    with amqp_check.Pinger([broker.address()], "nova", "scheduler", "controller", Deadline(10)) as pinger:
        for _ in range(3):
            with pytest.raises(Silent):
                pinger.wait(0.05)
        timer = threading.Timer(0.2, broker.answer_delay.set)
        timer.start()
        assert pinger.wait(5).seconds > 0.1
        timer.join()
    assert len(broker.pings) == 1


@given(st.binary(max_size=200) | st.from_regex(rb'\{"oslo.message": ".*"\}', fullmatch=True))
def test_any_bytes_are_an_answer_or_a_wrong_one(answer):
    with pytest.raises(WrongAnswer):
        amqp_check.judge(answer, QUEUE)


def test_a_good_reply_in_another_spelling_is_good():
    inner = json.dumps({"failure": None, "_msg_id": "1"}, separators=(",", ":"))
    amqp_check.judge(json.dumps({"oslo.message": inner}).encode(), QUEUE)


@given(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.floats(0, 1e6))
def test_the_message_is_json_in_json(identifier, seconds):
    outer = json.loads(amqp_check.message(identifier, f"reply_{identifier}", seconds))
    assert outer["oslo.version"] == "2.0"
    assert json.loads(outer["oslo.message"])["_msg_id"] == identifier
