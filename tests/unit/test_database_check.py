"""The database checks against a MySQL server of a hundred lines, which says what a test wants it to say."""

from __future__ import annotations

import datetime
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Server

from ocf_common import database_check
from ocf_common.connection_urls import DatabaseAddress, parse_database_url
from ocf_common.deadline import Deadline
from ocf_common.outcomes import CheckFailed, DependencyDown, Misconfigured

CAPABILITIES = 0x0000FFFF & ~0x0800 | 0x00080000 | 0x00010000  # everything old, no TLS; plug-in names
TYPES = {int: 3, str: 253, datetime.datetime: 12, type(None): 253}


def text(value: object) -> bytes:
    """A length-encoded string, or NULL."""
    if value is None:
        return b"\xfb"
    data = str(int(value) if isinstance(value, bool) else value).encode()
    return bytes((len(data),)) + data


class FakeServer:
    """As much of MariaDB as PyMySQL sees; the attributes say how it behaves."""

    def __init__(self) -> None:
        self.error_at_login = 0
        self.error_at_query = 0
        self.in_the_cluster = True
        self.rows: list[dict] = []
        self.statements: list[str] = []
        self.silent_at: str | None = None  # "greeting", "login" or "query"
        self.drops_at: str | None = None
        self.greeting: bytes | None = None
        self.quit = threading.Event()
        self.port = 0

    def address(self, **changes: object) -> DatabaseAddress:
        address = DatabaseAddress("mysql", "127.0.0.1", self.port, "nova", "p@ss/w:rd")
        address.database = "nova"
        for name, value in changes.items():
            setattr(address, name, value)
        return address

    def converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            try:
                self.talk(connection, reader)
            except EOFError:
                pass

    def breaks(self, connection: socket.socket, reader: object, step: str) -> bool:
        if self.silent_at == step:
            while reader.read(1):
                pass
            return True
        if self.drops_at == step:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return True
        return False

    def talk(self, connection: socket.socket, reader: object) -> None:
        def send(number: int, *payloads: bytes) -> None:
            for offset, payload in enumerate(payloads):
                head = struct.pack("<I", len(payload))[:3] + bytes((number + offset,))
                connection.sendall(head + payload)

        def receive() -> bytes:
            head = reader.read(4)
            if len(head) < 4:
                raise EOFError
            return reader.read(int.from_bytes(head[:3], "little"))

        def error(code: int) -> bytes:
            return b"\xff" + struct.pack("<H", code) + b"#HY000" + b"said by the server"

        good = b"\x00\x00\x00\x02\x00\x00\x00"
        if self.breaks(connection, reader, "greeting"):
            return
        send(0, self.greeting or self.hello())
        receive()
        if self.breaks(connection, reader, "login"):
            return
        send(2, error(self.error_at_login) if self.error_at_login else good)
        while True:
            command = receive()
            if command[:1] == b"\x01":
                self.quit.set()
                return
            statement = command[1:].decode()
            if statement.startswith("SET"):
                send(1, good)
                continue
            self.statements.append(statement)
            if self.breaks(connection, reader, "query"):
                return
            # As MariaDB's own rule: what reads no table is answered by a node outside its Galera cluster too.
            cut_off = not self.in_the_cluster and not (statement.startswith("SELECT") and " FROM " not in statement)
            code = 1047 if cut_off else self.error_at_query
            send(1, *([error(code)] if code else [good] if statement.startswith("DO") else self.result()))

    @staticmethod
    def hello() -> bytes:
        return (
            b"\x0a10.11.0-MariaDB\0" + struct.pack("<I", 7) + b"12345678\0"
            + struct.pack("<HBHHB", CAPABILITIES & 0xFFFF, 45, 2, CAPABILITIES >> 16, 21)
            + bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
        )  # fmt: skip

    def result(self) -> list[bytes]:
        end = b"\xfe\x00\x00\x02\x00"
        rows = self.rows
        columns = list(rows[0]) if rows else ["1"]
        kinds = [TYPES[type(rows[0][name]) if rows and type(rows[0][name]) is not bool else int] for name in columns]
        definitions = [
            b"".join(text(part) for part in ("def", "nova", "services", "services", name, name))
            + b"\x0c" + struct.pack("<HIBHBxx", 45, 255, kind, 0, 0)
            for name, kind in zip(columns, kinds)
        ]  # fmt: skip
        data = [b"".join(text(row[name]) for name in columns) for row in rows]
        return [bytes((len(columns),)), *definitions, end, *data, end]


@pytest.fixture
def server(serve):
    fake = FakeServer()
    fake.port = serve(fake.converse).port
    return fake


def ask(server: FakeServer, seconds: float = 5, **changes: object) -> None:
    database_check.ask(server.address(**changes), Deadline(seconds))


def row(server: FakeServer, **columns: object) -> database_check.ServiceRow:
    server.rows = [{"id": 4, "host": "h1", "report_count": 7, "disabled": False, **columns}]
    found = database_check.service_row(server.address(), Deadline(5), "nova-scheduler", "h1")
    assert found is not None
    return found


def utc(seconds_ago: float) -> datetime.datetime:
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
    return now - datetime.timedelta(seconds=seconds_ago)


def test_a_healthy_database_gets_one_statement_and_an_orderly_end(server):
    ask(server)
    assert server.statements == ["DO 1"]
    assert server.quit.wait(10)


def test_a_galera_node_that_lost_its_quorum_is_down(server):
    server.in_the_cluster = False
    with pytest.raises(DependencyDown, match=r"is not part of the cluster \(WSREP is not ready\)"):
        ask(server)


@pytest.mark.parametrize("code", sorted(database_check.DOWN))
def test_what_makes_a_database_unable_to_work(server, code):
    server.error_at_query = code
    with pytest.raises(DependencyDown) as caught:
        ask(server)
    assert caught.value.reason == f"MariaDB at 127.0.0.1:{server.port} {database_check.DOWN[code]}"
    assert caught.value.dependency == "database"


@pytest.mark.parametrize("code", sorted(database_check.MISFITS))
def test_what_does_not_fit_the_database(server, code):
    server.error_at_login = code
    with pytest.raises(Misconfigured) as caught:
        ask(server)
    assert caught.value.dependency == "database"
    assert "p@ss" not in caught.value.reason
    assert "{" not in caught.value.reason


def test_an_error_that_is_not_known_is_the_databases_and_told_by_its_number(server):
    server.error_at_query = 1999
    with pytest.raises(DependencyDown, match="answers with error 1999"):
        ask(server)


@pytest.mark.parametrize("step", ["greeting", "login", "query"])
def test_a_frozen_database_is_named_within_the_time_limit(server, step):
    server.silent_at = step
    with pytest.raises(DependencyDown, match=r"MariaDB at 127.0.0.1:\d+ does not answer within 0.3 s"):
        ask(server, seconds=0.3)


@pytest.mark.parametrize("step", ["greeting", "login", "query"])
def test_a_database_that_drops_the_connection_is_named(server, step):
    server.drops_at = step
    with pytest.raises(DependencyDown, match="resets connections"):
        ask(server)


def test_something_else_at_the_databases_port(server):
    server.greeting = b"HTTP/1.1 400 Bad Request"
    with pytest.raises(DependencyDown, match=r"does not speak MySQL's protocol|answers with error"):
        ask(server)


def test_tls_files_that_do_not_exist_are_this_nodes_configuration(server):
    with pytest.raises(Misconfigured, match="one of its TLS files does not exist"):
        ask(server, ssl_ca="/nonexistent/ca.pem")


def test_a_password_that_the_protocol_cannot_carry_is_not_shown(server):
    try:
        ask(server, password="passwörd☃")
    except CheckFailed as finding:
        assert "☃" not in finding.reason


def test_a_socket_file_that_does_not_exist(tmp_path):
    address = DatabaseAddress("mysql", "localhost", 3306)
    address.unix_socket = str(tmp_path / "mysqld.sock")
    with pytest.raises(DependencyDown, match=r"MariaDB at .*mysqld.sock has no socket there"):
        database_check.ask(address, Deadline(5))


@pytest.mark.parametrize("kind, product", [("mysql", "MariaDB"), ("postgresql", "PostgreSQL"), ("other", "the data")])
def test_a_port_that_refuses(kind, product):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(DependencyDown, match=f"^{product}.* at 127.0.0.1:.* refuses connections$"):
            database_check.ask(DatabaseAddress(kind, "127.0.0.1", bound.getsockname()[1]), Deadline(5))


def test_a_name_that_nobody_knows():
    with pytest.raises(DependencyDown, match=r"MariaDB at db.invalid:3306 cannot be resolved"):
        database_check.ask(parse_database_url("mysql+pymysql://nova:x@db.invalid/nova"), Deadline(5))


def test_postgresql_is_asked_for_a_connection(server):
    database_check.ask(server.address(kind="postgresql"), Deadline(5))


def test_a_kind_without_a_known_port_is_not_asked():
    database_check.ask(DatabaseAddress("other", "127.0.0.1", 0), Deadline(5))


def test_sqlite_is_a_file_that_can_be_read(tmp_path):
    file = tmp_path / "nova.sqlite"
    address = parse_database_url(f"sqlite:///{file}")
    with pytest.raises(Misconfigured, match=r"nova.sqlite cannot be read: No such file"):
        database_check.ask(address, Deadline(5))
    file.write_bytes(b"")
    database_check.ask(address, Deadline(5))
    database_check.ask(parse_database_url("sqlite://"), Deadline(5))


def test_the_row_of_a_daemon(server):
    found = row(server, updated_at=utc(300), last_seen_up=utc(9), forced_down=False, disabled_reason=None)
    assert 9 <= found.age < 60
    assert (found.report_count, found.disabled, found.disabled_reason, found.forced_down) == (7, False, "", False)
    assert "nova-scheduler" in server.statements[0]


@pytest.mark.parametrize(
    "columns, age",
    [
        ({"updated_at": 100, "created_at": 9000}, 100),  # Cinder: no last_seen_up
        ({"last_seen_up": None, "updated_at": None, "created_at": 50}, 50),
        ({"last_seen_up": -100}, -100),
    ],
)
def test_the_heartbeat_in_every_schema(server, columns, age):
    times = {name: seconds if seconds is None else utc(seconds) for name, seconds in columns.items()}
    assert age - 1 <= row(server, **times).age < age + 60


def test_a_row_that_was_never_written(server):
    assert row(server, updated_at=None, created_at=None).age is None


def test_what_an_operator_set(server):
    found = row(server, updated_at=utc(1), disabled=True, disabled_reason="new\ndisks", forced_down=True)
    assert (found.disabled, found.disabled_reason, found.forced_down) == (True, "new disks", True)


@pytest.mark.parametrize("value", [0, "OFF"])
def test_a_database_that_takes_writes(server, value):
    server.rows = [{"value": value}]
    database_check.must_take_writes(server.address(), Deadline(5))
    assert server.statements == ["SELECT @@global.read_only AS value"]


@pytest.mark.parametrize("value", [1, "ON", "NO_LOCK"])
def test_a_database_that_takes_no_writes_is_down(server, value):
    server.rows = [{"value": value}]
    with pytest.raises(DependencyDown, match=r"MariaDB at 127.0.0.1:\d+ is read-only"):
        database_check.must_take_writes(server.address(), Deadline(5))


def test_no_row(server):
    assert database_check.service_row(server.address(), Deadline(5), "nova-cert", "h1") is None


def test_names_of_hosts_are_quoted(server):
    database_check.service_row(server.address(), Deadline(5), "nova-cert", "h'; DROP TABLE services; --")
    assert r"h\'; DROP" in server.statements[0]


@given(greeting=st.binary(min_size=1, max_size=100))
def test_any_greeting_is_a_finding(greeting):
    fake = FakeServer()
    listener = Server(fake.converse)
    try:
        fake.port, fake.greeting, fake.error_at_login = listener.port, greeting, 1045
        with pytest.raises(CheckFailed):
            ask(fake, seconds=0.05)
    finally:
        listener.close()
