"""What the database of a service answers.

MySQL and MariaDB are asked with the login that the service itself uses, over PyMySQL. PostgreSQL is only
connected to and SQLite's file looked at: their clients are not on every controller.

What MariaDB sees of one check: one connection, one statement, an orderly quit; nothing in its log.
"""

from __future__ import annotations

import os

from ocf_common import network_errors, packages
from ocf_common.outcomes import DependencyDown, Misconfigured
from ocf_common.resolve import Unresolvable, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from ocf_common.connection_urls import DatabaseAddress
    from ocf_common.deadline import Deadline

DEPENDENCY = "database"
PRODUCTS = {"mysql": "MariaDB", "postgresql": "PostgreSQL"}

# What MariaDB's error numbers mean (its manual, "MariaDB Error Codes"); the rest of a sentence about the server.
DOWN = {
    1021: "has no disk space left",
    1040: "has too many connections",
    1041: "is out of memory",
    1047: "is not part of the cluster (WSREP is not ready)",
    1053: "is shutting down",
    1129: "blocks this host after many connection errors",
    1203: "has too many connections of this user",
    1226: "has too many connections of this user",
    1927: "ends connections",
}
MISFITS = {
    1044: "refuses the database {database!r} to user {user!r}",
    1045: "refuses the login of user {user!r}",
    1046: "is given no database name by the configured URL",
    1049: "has no database {database!r}",
    1130: "takes no connections from this host",
    1142: "refuses a table of database {database!r} to user {user!r}",
    1146: "has no such table in database {database!r}: it is not the service's, or its db sync never ran",
    1524: "wants a way to log in that it does not have itself",
    1698: "refuses the login of user {user!r}",
    1820: "wants a new password of user {user!r}",
    1862: "says that the password of user {user!r} has expired",
    3118: "has locked user {user!r}",
    4151: "has locked user {user!r}",
}
SHORTEST_WAIT = 0.001  # seconds; 0 would mean "do not block" to a socket


class ServiceRow:
    """One daemon's row in the table ``services``.

    ``age`` is in seconds by this host's UTC clock, as the daemon writes it (negative: it lies in the future;
    None: never written); ``disabled`` and ``forced_down`` are what an operator set.
    """

    __slots__ = ("age", "disabled", "disabled_reason", "forced_down", "report_count")

    def __init__(
        self, age: float | None, report_count: int, disabled: bool, disabled_reason: str, forced_down: bool
    ) -> None:
        self.age = age
        self.report_count = report_count
        self.disabled = disabled
        self.disabled_reason = disabled_reason
        self.forced_down = forced_down


class Session:
    """A connection to MariaDB that ends in time.

    Raises :class:`DependencyDown` and :class:`Misconfigured`, also from :meth:`query`.
    """

    def __init__(self, address: DatabaseAddress, deadline: Deadline) -> None:
        self.address = address
        self.deadline = deadline
        self._seconds = deadline.left()
        self._pymysql = packages.load("pymysql")
        if address.unix_socket and not os.path.exists(address.unix_socket):
            raise down(address, "has no socket there")
        # A socket file needs no look-up and no list of addresses, so PyMySQL connects to it itself.
        connection = None if address.unix_socket else connect(address, deadline)
        wait = max(deadline.left(), SHORTEST_WAIT)
        tls = {"ca": address.ssl_ca, "cert": address.ssl_cert, "key": address.ssl_key}
        try:
            self._connection = self._pymysql.connect(
                host=address.host or None,
                port=address.port,
                user=address.user or None,
                password=address.password,
                database=address.database or None,
                unix_socket=address.unix_socket or None,
                read_default_file=address.read_default_file or None,
                ssl={name: value for name, value in tls.items() if value} or None,
                connect_timeout=wait,
                read_timeout=wait,
                write_timeout=wait,
                autocommit=None,
                defer_connect=True,
            )
            if connection is not None:
                connection.settimeout(wait)
            self._connection.connect(connection)
        except Exception as error:
            if connection is not None:
                connection.close()
            raise self._finding(error) from None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._connection.close()
        except Exception:  # it is over, one way or the other
            pass

    def query(self, statement: str, *arguments: str) -> list[dict[str, Any]]:
        """Return the rows of a statement; ``arguments`` stand for its ``%s``."""
        try:
            with self._connection.cursor(self._pymysql.cursors.DictCursor) as cursor:
                cursor.execute(statement, arguments)
                return list(cursor.fetchall())
        except Exception as error:
            raise self._finding(error) from None

    def _finding(self, error: Exception) -> DependencyDown | Misconfigured | packages.PackageMissing:
        """Put an error of PyMySQL into one sentence; its own text may show a part of what was sent."""
        address = self.address
        errors = network_errors.causes(error)
        if isinstance(error, RuntimeError) and "cryptography" in str(error):
            return packages.PackageMissing("python3-cryptography is not installed: apt install python3-cryptography")
        untrusted = network_errors.unverified(errors)
        if untrusted:
            return misfit(address, f"has a certificate that cannot be verified: {untrusted}")
        no_tls = network_errors.broken_tls(errors)
        if no_tls:
            return misfit(address, f"does not speak TLS as configured: {no_tls}")
        if any(isinstance(cause, FileNotFoundError) for cause in errors):
            return misfit(address, "cannot be asked: one of its TLS files does not exist")
        trouble = network_errors.trouble(errors, self._seconds)
        if trouble:
            return down(address, trouble)
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if code in MISFITS:
            return misfit(address, MISFITS[code].format(database=address.database, user=address.user))
        if code in DOWN:
            return down(address, DOWN[code])
        if code in (2006, 2013):  # lost while something was read or written
            return down(address, "resets connections")
        if code == 2026:
            return misfit(address, "does not speak TLS")
        if isinstance(error, UnicodeEncodeError):
            return misfit(address, "cannot be asked: the login holds characters that it cannot take")
        if code:
            return down(address, f"answers with error {code}")
        return down(address, f"does not speak MySQL's protocol ({type(error).__name__})")


def ask(address: DatabaseAddress, deadline: Deadline) -> None:
    """Ask the database whether it can work.

    Raises :class:`DependencyDown` when it cannot, :class:`Misconfigured` when it refuses what is configured here.
    """
    if address.kind == "mysql":
        with Session(address, deadline) as session:
            # A Galera node outside the cluster refuses this one (1047), and answers SELECT where no table is read.
            session.query("DO 1")
    elif address.kind == "sqlite":
        _look_at_file(address.database)
    elif address.port:
        connect(address, deadline).close()


def service_row(address: DatabaseAddress, deadline: Deadline, binary: str, host: str) -> ServiceRow | None:
    """Return the row of daemon ``binary`` on ``host``, None without one; ``address`` is of kind mysql.

    The heartbeat is ``last_seen_up`` as in Nova's own judgement (``servicegroup/drivers/db.py``), else
    ``updated_at`` (Cinder), else ``created_at``. Columns differ between releases, so all are asked for.
    """
    with Session(address, deadline) as session:
        rows = session.query(
            "SELECT * FROM services WHERE `binary` = %s AND host = %s AND deleted = 0 ORDER BY id DESC LIMIT 1",
            binary,
            host,
        )
    if not rows:
        return None
    row = rows[0]
    import datetime

    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)  # as Nova writes it: UTC, naive
    seen = row.get("last_seen_up") or row.get("updated_at") or row.get("created_at")
    return ServiceRow(
        age=(now - seen).total_seconds() if isinstance(seen, datetime.datetime) else None,
        report_count=int(row.get("report_count") or 0),
        disabled=bool(row.get("disabled")),
        disabled_reason=" ".join(str(row.get("disabled_reason") or "").split()),
        forced_down=bool(row.get("forced_down")),
    )


def must_take_writes(address: DatabaseAddress, deadline: Deadline) -> None:
    """Raise DependencyDown where the database, of kind mysql, is read-only: no heartbeat can be written then."""
    with Session(address, deadline) as session:
        value = session.query("SELECT @@global.read_only AS value")[0]["value"]
    if str(value).upper() not in ("0", "OFF"):  # a number up to MariaDB 11, a word later
        raise down(address, "is read-only")


def connect(address: DatabaseAddress, deadline: Deadline) -> socket.socket:
    """Return a TCP connection to the first address of the host that takes one."""
    import socket

    seconds = deadline.left()
    try:
        places = resolve(address.host, address.port, deadline)
    except Unresolvable as unknown:
        raise down(address, network_errors.trouble([unknown], seconds)) from None
    error: OSError = TimeoutError()
    for number, (_, place) in enumerate(places):
        share = max(deadline.left() / (len(places) - number), SHORTEST_WAIT)
        try:
            return socket.create_connection(place[:2], share)
        except OSError as failed:
            error = failed
    raise down(address, network_errors.trouble([error], seconds))


def down(address: DatabaseAddress, what: str) -> DependencyDown:
    """Return the finding that the database itself cannot work."""
    return DependencyDown(f"{_name(address)} {what}", DEPENDENCY)


def misfit(address: DatabaseAddress, what: str) -> Misconfigured:
    """Return the finding that this node's configuration does not fit the database."""
    return Misconfigured(f"{_name(address)} {what}", DEPENDENCY)


def _name(address: DatabaseAddress) -> str:
    return f"{PRODUCTS.get(address.kind, 'the database')} at {address}"


def _look_at_file(path: str) -> None:
    if path == ":memory:":
        return
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise Misconfigured(
            f"the SQLite database {path} cannot be read: {error.strerror or os.strerror(error.errno or 0)}", DEPENDENCY
        ) from None
