"""What RabbitMQ, and a daemon behind it, answer.

``ask`` is the question to the broker as a dependency: log in, open a channel, publish a message that goes
nowhere, to see whether publishing is stopped. ``ping`` asks one daemon through it, with a call that every
oslo.messaging server answers without any configuration; its reply queue and exchange go with the connection.
"""

from __future__ import annotations

import os
import time

from ocf_common.amqp_connection import Broker, Publisher
from ocf_common.deadline import Deadline
from ocf_common.network_errors import duration
from ocf_common.outcomes import Disconnected, Silent, WrongAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocf_common.connection_urls import BrokerAddress

# A failure of one of these kinds comes from the dispatcher of a server that knows no ``ping``: it works.
ANSWERING_FAILURES = ("UnsupportedVersion", "NoSuchMethod", "NoSuchEndpoint")

# A shorter time limit makes the daemon log a warning ("Client provided an invalid timeout value") for every ping.
LEAST_TIMEOUT = 2  # seconds

# How often a ping is published again while the daemon has not declared its queue, in seconds.
RETRY = 0.1


class NeverConnected(Disconnected):
    """The broker has no such queue: the daemon has not connected since the broker was started."""


class NoConsumer(Silent):
    """The queue is there and nobody consumes from it: its daemon has lost its connection, or is gone."""


class Ping:
    """An answered ping.

    ``seconds`` from publishing to the answer; ``consumers`` of the daemon's queue: more than the daemon's own
    workers means that somebody else may have answered; ``broker``: ``address:port`` that carried it.
    """

    __slots__ = ("broker", "consumers", "seconds")

    def __init__(self, seconds: float, consumers: int, broker: str) -> None:
        self.seconds = seconds
        self.consumers = consumers
        self.broker = broker


class Pinger:
    """RPC pings to one daemon over one connection.

    ``exchange`` is ``control_exchange`` (nova), ``topic`` the daemon's (scheduler), ``host`` its ``host`` option.
    The answer comes from namespace ``baseapi`` of a nova daemon, in all releases; a server of another project
    answers that it knows no such call, which proves as much.

    Everything of one pinger ends at ``deadline``, the life of its messages included: a daemon that comes back
    later is not bothered with them. ``connecting``, if given, bounds the way to the broker alone.
    Raises as :class:`Broker`, and :class:`Misconfigured` when access is refused.
    """

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        exchange: str,
        topic: str,
        host: str,
        deadline: Deadline,
        agent: str = "",
        connecting: Deadline | None = None,
    ) -> None:
        self.exchange = exchange
        self.queue = f"{topic}.{host}"
        self._deadline = deadline
        self._broker = Broker(addresses, connecting or deadline, agent)
        self._sent_at: float | None = None
        self._answer: bytes | None = None
        try:
            self._open(connecting or deadline)
        except BaseException:
            self._broker.close()
            raise

    def __enter__(self) -> Pinger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the reply queue and exchange go with it."""
        self._broker.close()

    def _open(self, deadline: Deadline) -> None:
        """Open a channel with a reply queue of its own.

        Releases up to Ocata answer through an exchange of the queue's name, later ones through the default one.
        Calls without a callback are sent without asking for an answer; what is wrong with one closes the channel.
        """
        self._publisher = Publisher(self._broker, deadline)
        self._reply = f"reply_{os.urandom(16).hex()}"
        channel = self._publisher.channel
        channel.queue_declare(self._reply, exclusive=True, auto_delete=True)
        channel.exchange_declare(self._reply, "direct", auto_delete=True)
        channel.queue_bind(self._reply, self._reply, self._reply)
        channel.basic_consume(self._reply, self._on_message, auto_ack=True)

    def _on_message(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        if self._id.encode() in body:
            self._answer = body
            self._broker.wake()

    def consumers(self) -> int:
        """Return how many consumers the daemon's queue has; raises :class:`NeverConnected` without a queue."""
        frames: list[Any] = []

        def on_answer(frame: Any) -> None:
            frames.append(frame)
            self._broker.wake()

        publisher = self._publisher
        publisher.channel.queue_declare(self.queue, passive=True, callback=on_answer)
        if not self._broker.until(lambda: bool(frames) or publisher.closed is not None, self._deadline):
            raise self._broker.no_answer()
        if publisher.closed is not None:
            raise self._never_connected() if publisher.missing() else publisher.closing()
        return int(frames[0].method.consumer_count)

    def _never_connected(self) -> NeverConnected:
        return NeverConnected(
            f"RabbitMQ at {self._broker.address} has no queue {self.queue}: its daemon never connected", "broker"
        )

    def send(self) -> None:
        """Publish a ping, alive until the pinger's deadline; raises :class:`NeverConnected` without a queue."""
        import pika

        if self._publisher.closed is not None:
            if not self._publisher.missing():
                raise self._publisher.closing()
            self._open(self._deadline)
        self._id = os.urandom(16).hex()
        self._answer = None
        left = self._deadline.left()
        properties = pika.BasicProperties(
            content_type="application/json", content_encoding="utf-8", expiration=str(max(1, int(left * 1000)))
        )
        began = time.monotonic()
        if not self._publisher.publish(
            self.exchange, self.queue, message(self._id, self._reply, left), properties, self._deadline
        ):
            raise self._never_connected()
        self._sent_at = began

    def receive(self, deadline: Deadline) -> float:
        """Return the seconds that the daemon took to answer; raises :class:`Silent` or :class:`WrongAnswer`."""
        seconds = deadline.left()
        if not self._broker.until(lambda: self._answer is not None or self._publisher.closed is not None, deadline):
            raise Silent(f"{self.queue} gave no answer to a ping within {duration(seconds)}")
        if self._answer is None:
            raise self._publisher.closing()
        answer, began = self._answer or b"", self._sent_at or 0.0
        self._sent_at = self._answer = None
        judge(answer, self.queue)
        return time.monotonic() - began

    def wait(self, seconds: float) -> Ping:
        """Wait up to ``seconds`` for a daemon that is starting; can be called again after a finding.

        Returns within milliseconds of the daemon's answer: the ping lies in its queue before it consumes. Raises
        :class:`NeverConnected` while there is no queue, :class:`Silent` while nobody answers, :class:`WrongAnswer`,
        and :class:`DependencyDown` after which a new pinger is needed.
        """
        deadline = self._deadline.part(seconds)
        while self._sent_at is None:
            try:
                self.send()
            except NeverConnected:
                if deadline.passed():
                    raise
                self._broker.until(lambda: False, deadline.part(RETRY))
        return Ping(self.receive(deadline), self.consumers(), self._broker.address)

    def ping(self) -> Ping:
        """Ask a running daemon once. Raises as :meth:`wait`, and :class:`NoConsumer` at once when nobody listens."""
        consumers = self.consumers()
        if not consumers:
            raise NoConsumer(f"nobody consumes {self.queue} at RabbitMQ at {self._broker.address}")
        self.send()
        return Ping(self.receive(self._deadline), consumers, self._broker.address)


def ping(
    addresses: Sequence[BrokerAddress], exchange: str, topic: str, host: str, deadline: Deadline, agent: str = ""
) -> Ping:
    """Ask the daemon behind queue ``topic.host`` once, over a connection of its own; see :class:`Pinger`.

    Raises :class:`NeverConnected`, :class:`NoConsumer`, :class:`Silent`, :class:`WrongAnswer`,
    :class:`DependencyDown`, :class:`Misconfigured`.
    """
    with Pinger(addresses, exchange, topic, host, deadline, agent) as pinger:
        return pinger.ping()


def ask(addresses: Sequence[BrokerAddress], deadline: Deadline, agent: str = "") -> str:
    """Ask the broker whether it can work; return the ``address:port`` that answered.

    Raises :class:`DependencyDown`, also for an alarm (memory, disk), or :class:`Misconfigured`.
    """
    with Broker(addresses, deadline, agent) as broker:
        Publisher(broker, deadline)
    return broker.address


def message(identifier: str, reply: str, seconds: float) -> bytes:
    """Return the call ``ping`` of namespace ``baseapi`` as oslo.messaging sends it (envelope version 2.0)."""
    inner = (
        '{\\"method\\": \\"ping\\", \\"namespace\\": \\"baseapi\\", \\"version\\": \\"1.0\\", '
        f'\\"args\\": {{\\"arg\\": \\"ocf\\"}}, \\"_msg_id\\": \\"{identifier}\\", \\"_reply_q\\": \\"{reply}\\", '
        f'\\"_unique_id\\": \\"{os.urandom(16).hex()}\\", \\"_timeout\\": {max(LEAST_TIMEOUT, int(seconds))}}}'
    )
    return f'{{"oslo.version": "2.0", "oslo.message": "{inner}"}}'.encode()


def judge(answer: bytes, queue: str) -> None:
    """Raise :class:`WrongAnswer` unless ``answer`` is one of oslo.messaging that a working server gives."""
    if b'\\"failure\\": null' in answer and b'"oslo.message"' in answer:
        return  # what oslo.messaging writes when all is well: no need to import a parser
    import json

    try:
        reply = json.loads(json.loads(answer)["oslo.message"])
        failure = reply["failure"]
        name = "" if failure is None else str(json.loads(failure)["class"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WrongAnswer(f"{queue} answers a ping with something that is no reply") from error
    if name and name not in ANSWERING_FAILURES:
        raise WrongAnswer(f"{queue} answers a ping with {name}")
