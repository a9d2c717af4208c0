"""One HTTP request with one time limit, and what can be said of the answer.

``http.client`` costs 28 ms of CPU to import, more than the rest of a monitor, and bounds each read but not
their sum. So this is a client of its own, as small as the question: HTTP/1.1 with ``Connection: close``
(RFC 9112), over plain sockets. It follows no redirects, keeps no cookies and knows no proxies.

What goes wrong is raised as a finding::

    Refused        every address of the host refuses connections
    Silent         nothing came back within the time limit
    └── Unreachable    no route
        └── Unresolved     its name has no address: this says nothing about the service
    WrongAnswer    not HTTP, half an answer, an endless answer, a connection that was reset
    Attention      the certificate does not prove the service's name: a restart mends nothing
"""

from __future__ import annotations

import errno
from _socket import SOCK_STREAM, socket, timeout

from ocf_common.outcomes import Attention, Refused, Silent, WrongAnswer
from ocf_common.resolve import Unresolvable, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import NoReturn

    from ocf_common.connection_urls import HttpUrl
    from ocf_common.deadline import Deadline
    from ocf_common.resolve import SocketAddress

LIMIT = 65536  # bytes of the body, and of the headers
# What a call of ours waits at least: 0 would mean "do not block" to a socket.
SHORTEST_WAIT = 0.001  # seconds


class Unreachable(Silent):
    """The way to the service is broken."""


class Unresolved(Unreachable):
    """The name of the service has no address."""


class Tls:
    """How to speak TLS.

    :param ca_file: trust these certificates; empty: those of the system
    :param verify: False accepts any certificate
    :param server_name: the name that the certificate must have; empty: the host of the URL
    """

    __slots__ = ("ca_file", "server_name", "verify")

    def __init__(self, ca_file: str = "", verify: bool = True, server_name: str = "") -> None:
        self.ca_file = ca_file
        self.verify = verify
        self.server_name = server_name


class HttpAnswer:
    """Status, headers (names in lower case) and body; the body ends at the limit that was asked for."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def request(
    url: HttpUrl,
    deadline: Deadline,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    tls: Tls | None = None,
    limit: int = LIMIT,
    address: str | None = None,
) -> HttpAnswer:
    """Ask once, over a fresh connection, and return the answer.

    :param deadline: bounds the whole: names, connection, TLS and every read
    :param limit: bytes of the body that are read; a longer body of declared length is cut there
    :param address: connect to this host instead of the URL's
    :raises CheckFailed: as the module says; reasons begin with the URL
    """
    exchange = _Exchange(url, deadline, tls or Tls(), limit)
    connection = exchange.connect(address or url.host)
    try:
        if url.scheme == "https":
            connection = exchange.secure(connection, address or url.host)
        return exchange.ask(connection, method, headers or {}, body)
    finally:
        connection.close()


class _Exchange:
    """The steps of one request, and the words for what goes wrong in them."""

    def __init__(self, url: HttpUrl, deadline: Deadline, tls: Tls, limit: int) -> None:
        self.url = url
        self.deadline = deadline
        self.seconds = deadline.left()
        self.tls = tls
        self.limit = limit
        self.answered = False
        self.buffer = b""

    def silent(self) -> Silent:
        return Silent(f"{self.url} gave no answer within {self.seconds:.3g} s")

    def wrong(self, what: str) -> WrongAnswer:
        return WrongAnswer(f"{self.url} {what}")

    def connect(self, host: str) -> socket:
        """Return a connection to the first address that takes one; the time is shared among those left."""
        try:
            addresses = resolve(host, self.url.port, self.deadline)
        except Unresolvable as error:
            raise Unresolved(f"{self.url} cannot be reached: {error}") from None
        failures: list[OSError] = []
        for number, (family, where) in enumerate(addresses):
            if self.deadline.passed():
                break
            share = self.deadline.left() / (len(addresses) - number)
            try:
                return _connect(family, where, max(share, SHORTEST_WAIT))
            except OSError as error:
                failures.append(error)
        codes = {errno.ETIMEDOUT if isinstance(failure, timeout) else failure.errno for failure in failures}
        if not codes or len(failures) < len(addresses) or errno.ETIMEDOUT in codes:
            raise self.silent()
        if errno.ECONNRESET in codes:
            raise self.wrong("resets connections")
        # "localhost" has an IPv6 address also where IPv6 is off: no route there, refused at the other.
        if errno.ECONNREFUSED in codes:
            raise Refused(f"{self.url} refuses connections")
        raise Unreachable(f"{self.url} cannot be reached: {failures[-1].strerror}")

    def secure(self, connection: socket, host: str) -> socket:
        """Return the connection with TLS on it."""
        import ssl

        try:
            return self.wrap(connection, self.tls.verify)
        except ssl.SSLCertVerificationError as error:
            # OpenSSL says why, not of what: the certificate is fetched once more, to be shown.
            cause = error.verify_message or error.reason or "verification failed"
        except timeout:
            raise self.silent() from None
        except ValueError:
            raise Attention(f"{self.tls.server_name or self.url.host} cannot be the name of a certificate") from None
        except ssl.SSLError as error:
            if error.reason == "WRONG_VERSION_NUMBER":
                raise self.wrong("does not speak TLS") from None
            raise self.wrong(f"fails the TLS handshake: {(error.reason or str(error)).lower()}") from None
        except OSError as error:
            raise self.wrong(f"breaks the TLS handshake off: {error.strerror or error}") from None
        seen = self.describe_certificate(host)
        name = self.tls.server_name or self.url.host
        raise Attention(f"certificate of {self.url}{seen} is not valid for {name}: {cause.rstrip('.')}")

    def wrap(self, connection: socket, verify: bool) -> ssl.SSLSocket:
        import socket as sockets
        import ssl

        name = self.tls.server_name or self.url.host
        name.encode("idna")  # the ssl module does this too, but after a failure it leaves the socket open
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.tls.ca_file:
            try:
                context.load_verify_locations(self.tls.ca_file)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                reason = getattr(error, "strerror", None) if type(error) is not ssl.SSLError else "no certificate"
                raise Attention(f"CA file {self.tls.ca_file} cannot be used: {reason or error}") from None
        else:
            context.load_default_certs()
        plain = sockets.socket(fileno=connection.detach())
        try:
            plain.settimeout(max(self.deadline.left(), SHORTEST_WAIT))
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def describe_certificate(self, host: str) -> str:
        """Return subject and end of validity of the certificate that is served, or an empty string."""
        from ocf_common.certificate import describe
        from ocf_common.outcomes import CheckFailed

        try:
            connection = self.wrap(self.connect(host), verify=False)
            try:
                words = describe(connection.getpeercert(True) or b"")
            finally:
                connection.close()
        except (CheckFailed, OSError):
            return ""
        return f" ({words})" if words else ""

    def ask(self, connection: socket, method: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        fields = {
            "Host": self.url.authority,
            "User-Agent": "ocf-openstack",
            "Accept": "*/*",
            "Connection": "close",
            **headers,
        }
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {self.url.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header of the request holds a line end")
        self.send(connection, "\r\n".join([*lines, "", ""]).encode("utf-8") + body)
        while True:
            status, found = self.read_head(connection)
            if status >= 200:
                break
        if method == "HEAD" or status in (204, 304):
            return HttpAnswer(status, found, b"")
        if found.get("transfer-encoding", "").lower().endswith("chunked"):
            return HttpAnswer(status, found, self.read_chunks(connection))
        length, *others = set(found.get("content-length", "").split(", "))  # RFC 9112 lets one accept equal ones
        if not length:
            return HttpAnswer(status, found, self.read_to_end(connection))
        if others or not length.isascii() or not length.isdigit() or len(length) > 18:
            raise self.wrong("sends a length that is no number")
        wanted = min(int(length), self.limit)
        while len(self.buffer) < wanted:
            if not self.receive(connection):
                raise self.wrong(f"ends in the middle of its answer: {len(self.buffer)} of {length} bytes")
        return HttpAnswer(status, found, self.buffer[:wanted])

    def send(self, connection: socket, data: bytes) -> None:
        try:
            connection.settimeout(max(self.deadline.left(), SHORTEST_WAIT))
            connection.sendall(data)
        except timeout:
            raise self.silent() from None
        except OSError:
            pass  # it may have answered before it closed: what it said is worth more than this error

    def receive(self, connection: socket) -> bool:
        """Read once; return False at the end of what the peer sends."""
        if self.deadline.passed():
            self.out_of_time()
        try:
            connection.settimeout(max(self.deadline.left(), SHORTEST_WAIT))
            data = connection.recv(LIMIT)
        except timeout:
            self.out_of_time()
        except OSError as error:
            if error.errno == errno.ECONNRESET:
                raise self.wrong("resets connections") from None
            raise self.wrong(f"breaks the connection off: {error.strerror or error}") from None
        self.answered = self.answered or bool(data)
        self.buffer += data
        return bool(data)

    def out_of_time(self) -> NoReturn:
        if self.answered:
            raise self.wrong(f"did not finish its answer within {self.seconds:.3g} s")
        raise self.silent()

    def read_head(self, connection: socket) -> tuple[int, dict[str, str]]:
        """Return status and headers, and leave the beginning of the body in the buffer."""
        while True:
            start = self.buffer[:5]
            if start != b"HTTP/"[: len(start)]:
                if start[:2] == b"\x15\x03":
                    raise self.wrong("speaks TLS: the URL must begin with https")
                raise self.wrong("does not speak HTTP")
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            if len(self.buffer) > LIMIT:
                raise self.wrong("sends headers without an end")
            if not self.receive(connection):
                if self.buffer:
                    raise self.wrong("ends in the middle of its headers")
                raise self.wrong("closes the connection without an answer")
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        self.buffer = self.buffer[end + 4 :]
        words = lines[0].split(" ", 2)
        if len(words) < 2 or len(words[1]) != 3 or not words[1].isascii() or not words[1].isdigit():
            raise self.wrong("does not speak HTTP")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.lower()
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return int(words[1]), headers

    def read_to_end(self, connection: socket) -> bytes:
        while self.receive(connection):
            if len(self.buffer) > self.limit:
                raise self.endless()
        return self.buffer

    def read_chunks(self, connection: socket) -> bytes:
        """Return a body in chunks; trailers behind it are not read."""
        body = b""
        while True:
            end = self.buffer.find(b"\r\n")
            while end < 0:
                self.more_of_a_chunk(connection, self.buffer, 4096)
                end = self.buffer.find(b"\r\n")
            digits = self.buffer[:end].partition(b";")[0].strip()
            try:
                size = int(digits, 16)
            except ValueError:
                size = -1
            if size < 0:
                raise self.wrong("sends a chunk without a length")
            self.buffer = self.buffer[end + 2 :]
            if size == 0:
                return body
            if len(body) + size > self.limit:
                raise self.endless()
            while len(self.buffer) < size + 2:
                self.more_of_a_chunk(connection, self.buffer, size + 2)
            body += self.buffer[:size]
            self.buffer = self.buffer[size + 2 :]

    def more_of_a_chunk(self, connection: socket, have: bytes, most: int) -> None:
        if len(have) > most:
            raise self.wrong("sends a chunk without a length")
        if not self.receive(connection):
            raise self.wrong("ends in the middle of its answer")

    def endless(self) -> WrongAnswer:
        return self.wrong(f"sends an answer without an end (more than {self.limit} bytes)")


def _connect(family: int, where: SocketAddress, seconds: float) -> socket:
    connection = socket(family, SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection
