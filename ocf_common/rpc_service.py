"""Services behind the message broker: Nova's scheduler, conductor, consoleauth, cert and their like."""

from __future__ import annotations

import os

from ocf_common import common_parameters
from ocf_common.outcomes import Attention, DependencyDown, Misconfigured, Silent, WrongAnswer
from ocf_common.procfs import age
from ocf_common.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocf_common.amqp_check import Pinger
    from ocf_common.deadline import Deadline
    from ocf_common.identity import Tree
    from ocf_common.parameters import Parameter

DEFAULT_DOWN_TIME = 60  # seconds; service_down_time of nova
AMQP_PORTS = {5671, 5672}  # registered with IANA, with TLS and without
PINGER_LIFE = 10.0  # seconds that one connection waits for a daemon to start


class RpcService(Service):
    """What an agent of a service behind the broker declares beside what every agent does."""

    #: the topic of its queue: TOPIC.HOST
    topic = ""
    #: the exchange, where control_exchange does not name another
    exchange = ""
    dependencies = ("broker", "database")

    check_10 = "sends an RPC ping through the message broker to the daemon's own queue"
    check_20 = "also reads the age and state of its row in the services table"

    @classmethod
    def own_parameters(cls) -> tuple[Parameter, ...]:
        return common_parameters.rpc_parameters()

    @property
    def host(self) -> str:
        """The name under which the broker and the services table know the daemon."""
        return self.parameters.text("rpc_host") or self.settings.get("DEFAULT", "host") or os.uname().nodename

    def uses(self, dependency: str) -> bool:
        if dependency == "broker":
            return not (self.parameters.turned_off("amqp_server_port") or self.parameters.boolean("zeromq"))
        if dependency == "database":
            return not self.parameters.turned_off("database_server_port")
        return True

    def is_asked(self) -> bool:
        return self.uses("broker")

    def answers(self, deadline: Deadline, tree: Tree) -> None:
        if not self.is_asked():
            return
        from ocf_common import amqp_check

        ping = amqp_check.ping(self.brokers(), self._exchange(), self.topic, self.host, deadline, self.name)
        self._own_answer(ping.consumers, tree)

    def _exchange(self) -> str:
        return self.settings.get("DEFAULT", "control_exchange") or self.exchange or self.project

    def _own_answer(self, consumers: int, tree: Tree) -> None:
        """Raise Silent where another daemon of the same name has given the answer.

        A ping proves one consumer of the queue, ours only when our processes hold connections to the broker. The
        number of consumers does not tell: a namesake has as many workers as the daemon of ours that is cut off.
        """
        if not self.connected(tree):
            raise Silent(
                f"another daemon answers for {self.topic}.{self.host} ({consumers} consumers); "
                f"the processes of this {self.name} hold no connection to the broker"
            )

    def connected(self, tree: Tree) -> bool:
        """Tell whether our processes hold an established connection to a broker."""
        from ocf_common import sockets
        from ocf_common.dependencies import broker_addresses
        from ocf_common.service_config import ConfigError

        # The configuration may have been changed, or broken, under the daemon, which has what it read at its start;
        # and a port parameter is for the agent alone.
        ports = set(AMQP_PORTS)
        try:
            ports |= {broker.port for broker in (*self.brokers(), *broker_addresses(self.settings))}
        except (Misconfigured, ConfigError):
            pass
        return bool(sockets.established([process.pid for process in tree.all()], ports, self.proc.root))

    def works(self, deadline: Deadline, tree: Tree) -> None:
        self.answers(deadline, tree)
        if not self.uses("database"):
            return
        from ocf_common import database_check

        addresses = self.databases()
        if not addresses or addresses[0].kind != "mysql":
            for address in addresses:
                database_check.ask(address, deadline)
            return
        row = database_check.service_row(addresses[0], deadline, self.binary, self.host)
        if row is None:
            raise WrongAnswer(f"the services table has no row for {self.binary} on {self.host}")
        limit = self.settings.get("DEFAULT", "service_down_time") or ""
        down_time = int(limit) if limit.isdigit() else DEFAULT_DOWN_TIME
        stale = row.age is None or row.age > down_time
        # A daemon writes its row only some time after its start: before, this is what its predecessor left.
        if stale and (tree.main is None or age(tree.main) >= down_time):
            database_check.must_take_writes(addresses[0], deadline)
            since = "was never written" if row.age is None else f"is {row.age:.0f} s old (limit {down_time} s)"
            raise WrongAnswer(f"the heartbeat of {self.binary} on {self.host} in the services table {since}")
        if row.age is not None and row.age < -down_time:
            raise Attention(
                f"the heartbeat of {self.binary} on {self.host} lies {-row.age:.0f} s in the future: "
                "the clock of this host, or of the one that wrote it, is wrong"
            )
        if row.forced_down:
            raise Attention(f"{self.binary} on {self.host} is forced down in the services table")
        if row.disabled:
            why = f": {row.disabled_reason}" if row.disabled_reason else ""
            raise Attention(f"{self.binary} on {self.host} is disabled in the services table{why}")

    def lives(self, deadline: Deadline, tree: Tree) -> bool:
        # Without a broker that may be asked nothing is known against a daemon whose processes are there.
        return not self.uses("broker") or self.connected(tree)

    _pinger: Pinger | None = None
    _pinger_life: Deadline

    def await_answer(self, seconds: float, tree: Callable[[], Tree]) -> None:
        if not self.is_asked():
            return
        from ocf_common import amqp_check
        from ocf_common.deadline import Deadline

        try:
            if self._pinger is None or self._pinger_life.left() < seconds:
                self.close()
                # What a pinger leaves in the queue expires with it.
                self._pinger_life = Deadline(PINGER_LIFE)
                self._pinger = amqp_check.Pinger(
                    self.brokers(),
                    self._exchange(),
                    self.topic,
                    self.host,
                    self._pinger_life,
                    self.name,
                    connecting=Deadline(max(seconds, 1.0)),
                )
            ping = self._pinger.wait(seconds)
        except DependencyDown:
            self.close()
            raise
        self._own_answer(ping.consumers, tree())

    def close(self) -> None:
        if self._pinger is not None:
            self._pinger.close()
            self._pinger = None
