"""Whose TCP sockets are whose, from ``/proc/net/tcp``, ``tcp6`` and ``/proc/PID/fd`` (proc(5)).

``root`` is another folder in unit tests. Addresses are written as ``inet_ntop`` writes them; an IPv4
address that travels in an IPv6 socket (``::ffff:10.0.0.5``) is the IPv4 address.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

ESTABLISHED = b"01"
LISTEN = b"0A"
MAPPED = b"\0" * 10 + b"\xff\xff"
#: how configurations and the kernel write "on every address"
ANY = frozenset(("", "*", "0.0.0.0", "::"))  # noqa: S104 - compared, not bound


class Connection:
    """One line of the table; ``inode`` names the socket (0: no process holds it any more)."""

    __slots__ = ("inode", "local", "remote")

    def __init__(self, local: tuple[str, int], remote: tuple[str, int], inode: int) -> None:
        self.local = local
        self.remote = remote
        self.inode = inode


def listeners(port: int, root: str = "/proc", pid: int | str = "self") -> list[tuple[str, int]]:
    """Return (address, inode) of every socket that listens on ``port`` in the network namespace of ``pid``."""
    mark = b":%04X " % port
    found = _table(root, pid, LISTEN, (mark,))
    return [(line.local[0], line.inode) for line in found if line.local[1] == port]


def listens(pids: Iterable[int], root: str = "/proc") -> bool:
    """Tell whether one of ``pids`` holds a socket that listens, on whatever port.

    :raises PermissionError: the descriptors of one of the processes may not be seen
    """
    return any({line.inode for line in _table(root, pid, LISTEN, (b":",))} & socket_inodes(pid, root) for pid in pids)


def owners(inodes: Collection[int], root: str = "/proc") -> dict[int, list[int]]:
    """Return which processes hold the sockets. Reads every process's descriptors: only for trouble.

    Without root, sockets of other users are found without owner.

    :raises OSError: ``/proc`` cannot be listed
    """
    found: dict[int, list[int]] = {inode: [] for inode in inodes}
    for name in os.listdir(root):
        if not name.isdigit():
            continue
        try:
            held = socket_inodes(int(name), root)
        except OSError:
            continue
        for inode in held & found.keys():
            found[inode].append(int(name))
    return found


def established(pids: Iterable[int], remote_ports: Collection[int], root: str = "/proc") -> list[tuple[int, str, int]]:
    """Return (pid, remote address, remote port) of the connections that ``pids`` hold to those ports.

    :raises PermissionError: the descriptors of one of the processes may not be seen
    """
    tables: dict[str, dict[int, Connection]] = {}
    marks = tuple(b":%04X " % port for port in remote_ports)
    found = []
    for pid in pids:
        held = socket_inodes(pid, root)
        if not held:
            continue
        try:
            namespace = os.readlink(f"{root}/{pid}/ns/net")
        except OSError:
            namespace = str(pid)
        if namespace not in tables:
            lines = _table(root, pid, ESTABLISHED, marks)
            tables[namespace] = {line.inode: line for line in lines if line.remote[1] in remote_ports}
        for inode, line in tables[namespace].items():
            if inode in held:
                found.append((pid, *line.remote))
    return found


def has_connection(pids: Iterable[int], addresses: Iterable[tuple[str, int]], root: str = "/proc") -> bool:
    """Tell whether one of ``pids`` is connected to one of the (numeric address, port) pairs.

    :raises PermissionError: the descriptors of one of the processes may not be seen
    """
    wanted = {(normal(address), port) for address, port in addresses}
    held = established(pids, {port for _, port in wanted}, root)
    return any((address, port) in wanted for _, address, port in held)


def socket_inodes(pid: int, root: str = "/proc") -> set[int]:
    """Return the inodes of the sockets a process holds; none where the process is gone.

    :raises PermissionError: its descriptors may not be seen
    """
    found: set[int] = set()
    try:
        names = os.listdir(f"{root}/{pid}/fd")
    except PermissionError:
        raise
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(f"{root}/{pid}/fd/{name}")
        except OSError:  # closed since
            continue
        if target.startswith("socket:[") and target[8:-1].isdigit():
            found.add(int(target[8:-1]))
    return found


def normal(address: str) -> str:
    """Return a numeric address in the spelling of this module; anything else unchanged."""
    for family in (AF_INET, AF_INET6):
        try:
            return written(inet_pton(family, address))
        except (OSError, ValueError):
            continue
    return address


def written(packed: bytes) -> str:
    """Return the text of a binary address of 4 or 16 bytes."""
    if packed.startswith(MAPPED):
        packed = packed[12:]
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def parse_line(line: bytes) -> Connection | None:
    """Return the connection of a line of ``/proc/net/tcp``, or None where the line is not one."""
    fields = line.split()
    try:
        return Connection(_address(fields[1]), _address(fields[2]), int(fields[9]))
    except (IndexError, ValueError):
        return None


def _address(field: bytes) -> tuple[str, int]:
    """Return address and port of ``0100007F:1F90``; the kernel writes words of 32 bits in its own byte order."""
    digits, _, port = field.partition(b":")
    if len(digits) not in (8, 32):
        raise ValueError
    packed = bytes.fromhex(digits.decode("ascii"))
    if sys.byteorder == "little":
        packed = b"".join(packed[word : word + 4][::-1] for word in range(0, len(packed), 4))
    return written(packed), int(port, 16)


def _table(root: str, pid: int | str, state: bytes, marks: tuple[bytes, ...]) -> Iterator[Connection]:
    """Yield the connections in ``state`` whose line holds one of ``marks``.

    A busy controller has thousands of lines; only those with the right port are worth taking apart.
    """
    state = b" " + state + b" "
    for name in ("tcp", "tcp6"):
        try:
            with open(f"{root}/{pid}/net/{name}", "rb", buffering=0) as file:
                text = file.readall()
        except OSError:  # a kernel without IPv6, or a process that is gone
            continue
        for line in text.split(b"\n"):
            if state in line and any(mark in line for mark in marks):
                connection = parse_line(line)
                if connection is not None:
                    yield connection
