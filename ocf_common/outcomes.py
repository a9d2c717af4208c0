"""What a health check can find out, apart from "fine", as exceptions.

A check returns when all is well and raises one of these when not. It never decides on an exit
code: that is the work of ``health``, which asks the dependencies first::

    CheckFailed
    ├── Silent            no answer in time: busy, or hung
    ├── Refused           the service's own port refuses connections
    ├── WrongAnswer       it answered, with nonsense or an error
    │   └── Disconnected  a dependency that is well knows nothing of the daemon
    ├── Attention         it serves, an operator must look at something (never a restart)
    ├── DependencyDown    another service is unreachable or cannot work
    └── Misconfigured     this node's configuration does not fit a dependency (login, URL, TLS)
"""

from __future__ import annotations


class CheckFailed(Exception):
    """A finding; ``reason`` is one line for the operator, without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Silent(CheckFailed):
    """No answer within the time limit."""


class Refused(CheckFailed):
    """The service's own address refuses connections."""


class WrongAnswer(CheckFailed):
    """An answer that a healthy service does not give."""


class Disconnected(WrongAnswer):
    """A dependency is well and knows nothing of the daemon: it was restarted meanwhile, or the daemon never came."""

    def __init__(self, reason: str, dependency: str) -> None:
        super().__init__(reason)
        self.dependency = dependency


class Attention(CheckFailed):
    """The service serves, but an operator must look; a restart would mend nothing."""


class DependencyDown(CheckFailed):
    """A service that this one depends on is down: refused, reset, unroutable, timed out, blocked."""

    def __init__(self, reason: str, dependency: str) -> None:
        super().__init__(reason)
        self.dependency = dependency


class Misconfigured(CheckFailed):
    """The configuration of this node does not fit a dependency: login, virtual host, URL, TLS."""

    def __init__(self, reason: str, dependency: str) -> None:
        super().__init__(reason)
        self.dependency = dependency
