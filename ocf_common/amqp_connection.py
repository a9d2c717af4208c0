"""A connection to RabbitMQ that ends in time, whatever the broker does.

pika's blocking connection has no time limit for a method that a frozen broker never answers, so this is its
connection with callbacks, run step by step. What RabbitMQ sees of one check: one connection, closed properly, and
four lines in its log at level info (accepting, client-provided name, authenticated, closing).
"""

from __future__ import annotations

import os
import sys

from ocf_common import network_errors, packages
from ocf_common.deadline import Deadline
from ocf_common.outcomes import DependencyDown, Misconfigured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocf_common.connection_urls import BrokerAddress

DEPENDENCY = "broker"

# While a connection is blocked by an alarm RabbitMQ reads nothing from it, not even its end. Only the heartbeat
# it cannot send makes it forget a client that has left, so the interval (seconds) is shorter than usual:
# blocked connections were seen to be gone after 12 s, while the alarm lasted.
HEARTBEAT = 10

# How long the broker gets to answer a close, in seconds.
CLOSING = 0.5

NOT_FOUND = 404
ACCESS_REFUSED = 403


class Broker:
    """A connection to the first of several brokers that takes it.

    ``addresses`` are tried in turn, each with its share of what is left of ``deadline``; ``agent`` is shown in
    RabbitMQ's list of connections. Raises :class:`DependencyDown` when none can be reached and
    :class:`Misconfigured` when one refuses the login, the virtual host or TLS.
    """

    def __init__(self, addresses: Sequence[BrokerAddress], deadline: Deadline, agent: str = "") -> None:
        self._pika = packages.load("pika")
        self._loop: Any = None
        self._connection: Any = None
        self._lost: BaseException | None = None
        self._blocked = ""
        self._seconds = deadline.left()
        findings: list[DependencyDown | Misconfigured] = []
        for number, address in enumerate(addresses):
            share = deadline.part(deadline.left() / (len(addresses) - number))
            try:
                self._connect(address, share, agent)
                return
            except (DependencyDown, Misconfigured) as finding:
                findings.append(finding)
        if not findings:
            raise Misconfigured("no message broker is configured", DEPENDENCY)
        for found in findings:
            if isinstance(found, Misconfigured):
                raise found
        raise DependencyDown("; ".join(found.reason for found in findings), DEPENDENCY)

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, address: BrokerAddress, deadline: Deadline, agent: str) -> None:
        self.address = str(address)
        self._seconds = seconds = max(deadline.left(), 0.001)
        parameters = self._pika.ConnectionParameters(
            host=address.host,
            port=address.port,
            virtual_host=address.virtual_host,
            credentials=self._pika.PlainCredentials(address.user, address.password),
            ssl_options=self._tls(address),
            connection_attempts=1,
            socket_timeout=seconds,
            stack_timeout=seconds,
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": f"ocf:{agent or os.path.basename(sys.argv[0])}"},
        )
        from pika.adapters.select_connection import IOLoop

        self._loop = IOLoop()
        outcomes: list[Any] = []

        def done(outcome: Any) -> None:
            outcomes.append(outcome)
            self._loop.stop()

        self._pika.SelectConnection.create_connection([parameters], done, custom_ioloop=self._loop)
        # pika's own limit does not cover the look-up of the name; half a second lets it speak first.
        if not self.until(lambda: bool(outcomes), Deadline(seconds + 0.5)):
            raise self.down("cannot be resolved in time")
        if isinstance(outcomes[0], BaseException):
            self._loop.close()
            raise self._connect_failure(outcomes[0], address)
        self._connection = outcomes[0]
        self._connection.add_on_close_callback(self._on_close)
        self._connection.add_on_connection_blocked_callback(self._on_blocked)

    def _tls(self, address: BrokerAddress) -> Any:
        """Verify as oslo.messaging does: the chain against its CA file or the system's, not the name."""
        if not address.tls:
            return None
        import ssl

        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            if address.ssl_ca_file:
                context.load_verify_locations(address.ssl_ca_file)
            else:
                context.load_default_certs()
            if address.ssl_cert_file:
                context.load_cert_chain(address.ssl_cert_file, address.ssl_key_file or None)
        except (OSError, ValueError) as error:
            raise self.misfit(f"cannot be asked: its TLS files cannot be loaded ({type(error).__name__})") from error
        return self._pika.SSLOptions(context, address.host)

    def _connect_failure(self, failure: BaseException, address: BrokerAddress) -> DependencyDown | Misconfigured:
        """Put pika's nested exceptions into one sentence."""
        errors = network_errors.causes(failure)
        # An error of verification is an OSError too, so it goes before those.
        untrusted = network_errors.unverified(errors)
        if untrusted:
            return self.misfit(f"has a certificate that cannot be verified: {untrusted}")
        # pika puts the broker's own words (code and text of connection.close) into the text of its guess.
        words = " ".join(str(argument) for error in errors for argument in error.args)
        if "ConnectionClosedByBroker: (403)" in words:
            return self.misfit(f"refuses the login of user {address.user!r}")
        if "ConnectionClosedByBroker: (530)" in words and "limit" not in words and "is down" not in words:
            if "not found" in words:
                return self.misfit(f"has no virtual host {address.virtual_host!r}")
            return self.misfit(f"refuses user {address.user!r} in virtual host {address.virtual_host!r}")
        if "ConnectionClosedByBroker:" in words:
            return self.down(f"takes no connection: {words.partition('ConnectionClosedByBroker: ')[2]}")
        no_tls = network_errors.broken_tls(errors)
        if no_tls:
            return self.misfit(f"does not speak TLS as configured: {no_tls}")
        trouble = network_errors.trouble(errors, self._seconds)
        if trouble:
            return self.down(trouble)
        if "StreamLostError" in words:
            return self.down("resets connections" if "reset by peer" in words else "closes connections at once")
        return self.misfit("does not speak AMQP 0-9-1")

    def down(self, what: str) -> DependencyDown:
        """Return the finding that the broker itself cannot work."""
        return DependencyDown(f"RabbitMQ at {self.address} {what}", DEPENDENCY)

    def misfit(self, what: str) -> Misconfigured:
        """Return the finding that this node's configuration does not fit the broker."""
        return Misconfigured(f"RabbitMQ at {self.address} {what}", DEPENDENCY)

    def no_answer(self) -> DependencyDown:
        return self.down(network_errors.no_answer(self._seconds))

    def _on_close(self, _connection: Any, reason: BaseException) -> None:
        self._lost = reason
        self._loop.stop()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._blocked = str(frame.method.reason or "memory or disk alarm")
        self._loop.stop()

    def wake(self, *_: object) -> None:
        """Let :meth:`until` look at its condition; to be called in callbacks of pika."""
        self._loop.stop()

    def until(self, done: Callable[[], bool], deadline: Deadline) -> bool:
        """Let pika work until ``done``, which a callback makes true before it calls :meth:`wake`.

        Returns False when ``deadline`` passes first. Raises :class:`DependencyDown` when the broker closes the
        connection, or blocks it because of an alarm.
        """
        timer = self._loop.call_later(deadline.left(), self._loop.stop)
        try:
            while True:
                self.raise_if_lost()
                if done():
                    return True
                if deadline.passed():
                    return False
                self._loop.start()
        finally:
            self._loop.remove_timeout(timer)

    def raise_if_lost(self) -> None:
        """Raise :class:`DependencyDown` when the broker has closed the connection, or blocked it (an alarm)."""
        if self._blocked:
            raise self.down(f"has stopped publishers ({self._blocked})")
        if self._lost is not None and self._connection is not None:
            text = getattr(self._lost, "reply_text", "")
            raise self.down(f"closed the connection: {text}" if text else "resets connections")

    def confirms(self) -> bool:
        """Return whether the broker knows publisher confirms, as every RabbitMQ does."""
        return bool(self._connection.publisher_confirms and self._connection.basic_nack)

    def channel(self, deadline: Deadline) -> Any:
        """Return an open channel of pika; raises :class:`DependencyDown` when the broker does not answer."""
        opened: list[Any] = []

        def on_open(channel: Any) -> None:
            opened.append(channel)
            self.wake()

        self._seconds = deadline.left()
        self._connection.channel(on_open_callback=on_open)
        if not self.until(lambda: bool(opened), deadline):
            raise self.no_answer()
        return opened[0]

    def close(self, deadline: Deadline | None = None) -> None:
        """Close the connection properly; drop it when the broker is blocked, or does not answer in time."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        deadline = deadline or Deadline(CLOSING)
        blocked, self._blocked = self._blocked, ""
        if connection.is_open and not blocked:
            connection.close()
            self.until(lambda: self._lost is not None, deadline)
        if self._lost is None:
            # pika has no public way to drop a connection whose other end does not answer.
            connection._terminate_stream(ConnectionError())
            self.until(lambda: self._lost is not None, Deadline(CLOSING))
        self._loop.close()
        self._blocked = self._blocked or blocked


class Publisher:
    """A channel whose messages the broker confirms, or hands back when no queue takes them."""

    def __init__(self, broker: Broker, deadline: Deadline) -> None:
        self.broker = broker
        self.channel = broker.channel(deadline)
        self.closed: Any = None
        self._confirmed = False
        self._refused = False
        self._returned = False
        self.channel.add_on_close_callback(self._on_close)
        self.channel.add_on_return_callback(self._on_return)
        self._selected = False
        # RabbitMQ tells of an alarm (memory, disk) only after something was published. Before the first message
        # that matters one goes out that no queue takes: a ping published into an alarm would reach a daemon
        # that cannot answer it.
        self.channel.basic_publish("", f"ocf_{os.urandom(16).hex()}", b"")
        if not broker.confirms():
            raise broker.misfit("does not confirm messages: it is no RabbitMQ")
        self.channel.confirm_delivery(ack_nack_callback=self._on_confirm, callback=self._on_select)
        if not broker.until(lambda: self._selected or self.closed is not None, deadline):
            raise broker.no_answer()
        if self.closed is not None:
            raise self.closing()

    def _on_select(self, _frame: Any) -> None:
        self._selected = True
        self.broker.wake()

    def _on_close(self, _channel: Any, reason: Any) -> None:
        self.closed = reason
        self.broker.wake()

    def _on_return(self, *_: object) -> None:
        self._returned = True

    def _on_confirm(self, frame: Any) -> None:
        self._confirmed = True
        self._refused = frame.method.NAME == "Basic.Nack"
        self.broker.wake()

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Any, deadline: Deadline) -> bool:
        """Publish a message; return whether a queue took it, False also when the exchange does not exist.

        Raises :class:`DependencyDown` when the broker is blocked by an alarm or does not take charge of the message
        before ``deadline``, :class:`Misconfigured` when the user may not write there.
        """
        self._confirmed = self._refused = self._returned = False
        seconds = deadline.left()
        self.channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
        if not self.broker.until(lambda: self._confirmed or self.closed is not None, deadline):
            raise self.broker.down(f"does not confirm a message within {network_errors.duration(seconds)}")
        if self.closed is not None:
            if self.missing():
                return False
            raise self.closing()
        if self._refused:
            raise self.broker.down("refuses to store a message")
        return not self._returned

    def missing(self) -> bool:
        """Return whether the broker closed the channel because a queue or exchange does not exist."""
        return getattr(self.closed, "reply_code", 0) == NOT_FOUND

    def closing(self) -> DependencyDown | Misconfigured:
        """Return what the broker's reason for closing the channel means."""
        text = getattr(self.closed, "reply_text", "")
        if getattr(self.closed, "reply_code", 0) == ACCESS_REFUSED:
            return self.broker.misfit(f"refuses access: {text}")
        return self.broker.down(f"closed the channel: {text}")
