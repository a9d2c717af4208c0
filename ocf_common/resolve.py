"""Names of hosts to socket addresses, within a time limit."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, SOCK_STREAM, gaierror, getaddrinfo, inet_pton

from ocf_common.deadline import OutOfTime, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocf_common.deadline import Deadline

    SocketAddress = tuple[Any, ...]  # (address, port), IPv6 with flow and scope behind


class Unresolvable(OSError):
    """A name without address; ``reason`` is what goes behind "cannot be resolved", or empty."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} cannot be resolved{reason}")
        self.reason = reason


def resolve(host: str, port: int, deadline: Deadline) -> list[tuple[int, SocketAddress]]:
    """Return (family, socket address) of each address of ``host``, in the resolver's order of preference.

    A numeric address asks nobody. Everything else runs under the deadline, because no time limit of a
    resolver bounds the sum of its attempts.

    :raises Unresolvable: there is no address, or no answer in time
    """
    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return [(family, (host, port) if family == AF_INET else (host, port, 0, 0))]
    try:
        # As bytes: for text, Python would import its IDNA codec. Underscores and the like pass this way too.
        name = host.encode("ascii")
        found = within(deadline, lambda: getaddrinfo(name, port, 0, SOCK_STREAM))
    except OutOfTime:
        raise Unresolvable(host, " in time") from None
    except gaierror as error:
        raise Unresolvable(host, f": {error.strerror or error}") from None
    except (OSError, ValueError) as error:
        raise Unresolvable(host, f": {getattr(error, 'strerror', None) or 'not a name'}") from None
    addresses = [(int(family), address) for family, _, _, _, address in found if family in (AF_INET, AF_INET6)]
    if not addresses:
        raise Unresolvable(host, ": no address")
    return addresses
