"""The URLs by which OpenStack's daemons name their broker, their database and each other.

They are read as the daemons read them (oslo.messaging 18, kombu, SQLAlchemy 1.0 to 2.0), by hand: importing
``urllib.parse`` would cost a monitor more than the whole of level 0. No error shows any part of a URL
that could be a password, and no ``repr`` does.
"""

from __future__ import annotations

HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
TRUE_VALUES = ("true", "1", "on", "yes")

BROKER_SCHEMES = ("rabbit", "amqp", "amqps", "pyamqp", "kombu")
DATABASE_KINDS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
}
DATABASE_PORTS = {"mysql": 3306, "postgresql": 5432}
HTTP_PORTS = {"http": 80, "https": 443}


class InvalidUrl(Exception):
    """A URL that cannot be used; ``reason`` is one line without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerAddress:
    """One host of a transport URL; ``tls`` and the ``ssl_*`` files come from its query part."""

    __slots__ = (
        "host", "password", "port", "ssl_ca_file", "ssl_cert_file", "ssl_key_file", "tls", "user",
        "virtual_host",
    )  # fmt: skip

    def __init__(
        self,
        host: str,
        port: int = 5672,
        user: str = "guest",
        password: str = "guest",  # noqa: S107  RabbitMQ's own default, which kombu fills in
        virtual_host: str = "/",
        tls: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.virtual_host = virtual_host
        self.tls = tls
        self.ssl_ca_file = ""
        self.ssl_cert_file = ""
        self.ssl_key_file = ""

    def __str__(self) -> str:
        return join_port(self.host, self.port)

    def __repr__(self) -> str:
        return f"<BrokerAddress {self} vhost={self.virtual_host!r} user={self.user!r} tls={self.tls}>"


class DatabaseAddress:
    """A database URL. ``kind``: mysql (MariaDB too), postgresql, sqlite or other.

    ``database`` is the file's path for sqlite; ``port`` is 0 where the kind has no known default.
    """

    __slots__ = (
        "database", "host", "kind", "password", "port", "read_default_file", "ssl_ca", "ssl_cert", "ssl_key",
        "unix_socket", "user",
    )  # fmt: skip

    def __init__(self, kind: str, host: str = "", port: int = 0, user: str = "", password: str = "") -> None:
        self.kind = kind
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.database = ""
        self.unix_socket = ""
        self.read_default_file = ""
        self.ssl_ca = ""
        self.ssl_cert = ""
        self.ssl_key = ""

    def __str__(self) -> str:
        if self.kind == "sqlite":
            return self.database
        return self.unix_socket or join_port(self.host, self.port)

    def __repr__(self) -> str:
        return f"<DatabaseAddress {self.kind} {self} database={self.database!r} user={self.user!r}>"


class HttpUrl:
    """An ``http`` or ``https`` URL; ``path`` holds the query too and begins with ``/``."""

    __slots__ = ("host", "path", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int, path: str = "/") -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the ``Host`` header."""
        if self.port == HTTP_PORTS[self.scheme]:
            return bracketed(self.host)
        return join_port(self.host, self.port)

    def with_path(self, path: str) -> HttpUrl:
        """Return the URL of another path at the same service."""
        return HttpUrl(self.scheme, self.host, self.port, path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpUrl) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def __repr__(self) -> str:
        return f"<HttpUrl {self}>"


def parse_transport_url(text: str, default_port: int = 5672) -> list[BrokerAddress]:
    """Return the broker's hosts in the order of ``transport_url``.

    As oslo.messaging does it: each host has its own login, one without gets guest/guest (the login of the
    first host is not handed on); an empty URL part means localhost; an empty virtual host means ``/``.

    :raises InvalidUrl: the scheme is not RabbitMQ's, or a host, port or option makes no sense
    """
    scheme, rest = _split_scheme(text, "transport_url")
    if scheme.partition("+")[0] not in BROKER_SCHEMES or scheme.rpartition("+")[2] not in BROKER_SCHEMES:
        raise InvalidUrl(f"transport_url has the scheme {scheme}, which is not one of RabbitMQ")
    rest = rest.partition("#")[0]
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    options = parse_query(query)
    tls = scheme.endswith("amqps") or options.get("ssl", "").lower() in TRUE_VALUES
    addresses = []
    for part in netloc.split(",") if netloc.strip(",") else ["localhost"]:
        if not part:
            continue
        login, _, place = part.rpartition("@")
        user, _, password = login.partition(":")
        host, port = split_port(place, default_port, "transport_url")
        address = BrokerAddress(host or "localhost", port, tls=tls)
        address.user = unquote(user) or "guest"
        address.password = unquote(password) or "guest"
        address.virtual_host = unquote(path) or "/"
        address.ssl_ca_file = options.get("ssl_ca_file", "")
        address.ssl_cert_file = options.get("ssl_cert_file", "")
        address.ssl_key_file = options.get("ssl_key_file", "")
        addresses.append(address)
    return addresses


def parse_database_url(text: str) -> DatabaseAddress:
    """Return where an SQLAlchemy URL leads (``connection`` of a ``[database]`` section).

    :raises InvalidUrl: it is no URL, or its host or port makes no sense
    """
    scheme, rest = _split_scheme(text, "connection")
    kind = DATABASE_KINDS.get(scheme.partition("+")[0], "other")
    # A password ends at the first "@" (SQLAlchemy 1.4 and later) or the last one (earlier): "@" cannot be in
    # a host name, so it ends at the last one before the path. It may hold "/" and "?" in both.
    at = rest.find("@")
    user = rest[: max(at, 0)].partition(":")[0]
    login = ""
    if at >= 0 and "/" not in user:  # else that "@" belongs to the path or the query
        further = at
        while further >= 0:
            at = further
            further = rest.find("@", at + 1, _find_first(rest, "/?", at))
        login, rest = rest[:at], rest[at + 1 :]
    user, _, password = login.partition(":")
    cut = _find_first(rest, "/?", 0)
    place, tail = rest[:cut], rest[cut:]
    path, _, query = tail.partition("?")
    address = DatabaseAddress(kind, user=unquote(user), password=unquote(password))
    options = parse_query(query)
    address.database = unquote(path[1:])
    if kind == "sqlite":
        if place:
            raise InvalidUrl("connection names a host for SQLite: a path stands behind sqlite:///")
        address.database = address.database or ":memory:"
        return address
    address.host, address.port = split_port(place, DATABASE_PORTS.get(kind, 0), "connection", allow_zero=True)
    address.host = address.host or options.get("host", "") or "localhost"
    address.unix_socket = options.get("unix_socket", "")
    address.read_default_file = options.get("read_default_file", "")
    address.ssl_ca = options.get("ssl_ca", "")
    address.ssl_cert = options.get("ssl_cert", "")
    address.ssl_key = options.get("ssl_key", "")
    return address


def parse_http_url(text: str) -> HttpUrl:
    """Return the parts of an ``http`` or ``https`` URL; without a path it gets ``/``.

    :raises InvalidUrl: another scheme, a login, white space, a host or port that makes no sense
    """
    scheme, rest = _split_scheme(text, "the URL")
    if scheme not in HTTP_PORTS:
        raise InvalidUrl("the URL does not begin with http:// or https://")
    rest = rest.partition("#")[0]
    if not rest.isascii() or not rest.isprintable() or " " in rest:
        raise InvalidUrl("the URL holds a character that must be written as %XX")
    cut = _find_first(rest, "/?", 0)
    place, path = rest[:cut], rest[cut:]
    if "@" in place:
        raise InvalidUrl("the URL holds a login")
    host, port = split_port(place, HTTP_PORTS[scheme], "the URL")
    if not host:
        raise InvalidUrl("the URL has no host")
    return HttpUrl(scheme, host, port, path if path[:1] == "/" else "/" + path)


def _split_scheme(text: str, what: str) -> tuple[str, str]:
    text = text.strip()
    scheme, mark, rest = text.partition("://")
    if not mark or not scheme or not scheme.isascii():
        raise InvalidUrl(f"{what} is not a URL")
    # Nothing else may be shown of a text that only seems to be a URL.
    if not scheme.replace("+", "").replace("-", "").replace("_", "").isalnum() or len(scheme) > 40:
        raise InvalidUrl(f"{what} is not a URL")
    return scheme.lower(), rest


def split_port(text: str, default: int, what: str, allow_zero: bool = False) -> tuple[str, int]:
    """Return host and port of ``host:port``, ``[v6]:port``, ``host`` or a bare IPv6 address.

    :param what: what the text is part of, for the reason
    :param allow_zero: take a default of 0 for "no port"
    :raises InvalidUrl: a port out of 1 to 65535, or a character that no host name has
    """
    if text[:1] == "[":
        host, bracket, rest = text[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":") or not is_ipv6_text(host):
            raise InvalidUrl(f"{what} has brackets around something that is no IPv6 address")
        number = rest[1:]
    elif text.count(":") > 1 and is_ipv6_text(text):
        host, number = text, ""
    else:
        host, _, number = text.partition(":")
        if not host.isprintable() or any(character in " []@\\\"'<>^`{|}" for character in host):
            raise InvalidUrl(f"{what} has a host name with a character that cannot be in one")
    if not number:
        return host, default
    # The text is not shown: what stands here may be half a password with a "/" in it.
    if not number.isascii() or not number.isdigit() or len(number) > 5:
        raise InvalidUrl(f"{what} has a port that is not a number from 1 to 65535")
    port = int(number)
    if not 1 <= port <= 65535 and not (allow_zero and port == 0):
        raise InvalidUrl(f"{what} has a port that is not a number from 1 to 65535")
    return host, port


def is_ipv6_text(text: str) -> bool:
    """Say whether ``text`` has only characters of an IPv6 address, with or without a zone (``%eth0``)."""
    digits, _, zone = text.partition("%")
    return (
        digits.count(":") >= 2
        and all(character in HEXADECIMAL or character in ":." for character in digits)
        and zone.isascii()
        and (not zone or zone.replace("-", "").replace("_", "").replace(".", "").isalnum())
    )


def bracketed(host: str) -> str:
    """Return the host as it is written before a port: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def join_port(host: str, port: int) -> str:
    """Return ``host:port``, or ``[v6]:port``."""
    return f"{bracketed(host)}:{port}"


def parse_query(text: str) -> dict[str, str]:
    """Return the options of a URL's query; several values of one name joined by commas (oslo.messaging)."""
    options: dict[str, str] = {}
    for part in text.split("&"):
        name, _, value = part.partition("=")
        name = unquote(name.replace("+", " "))
        value = unquote(value.replace("+", " "))
        if name and value:
            options[name] = f"{options[name]},{value}" if name in options else value
    return options


def unquote(text: str) -> str:
    """Return ``text`` with its %XX replaced, as ``urllib.parse.unquote`` does."""
    if "%" not in text:
        return text
    parts = text.encode("utf-8", "surrogatepass").split(b"%")
    result = [parts[0]]
    for part in parts[1:]:
        code = part[:2].decode("latin-1")
        if len(code) == 2 and code[0] in HEXADECIMAL and code[1] in HEXADECIMAL:
            result.append(bytes((int(code, 16),)) + part[2:])
        else:
            result.append(b"%" + part)
    return b"".join(result).decode("utf-8", "replace")


def _find_first(text: str, characters: str, start: int) -> int:
    """Return where the first of ``characters`` stands from ``start`` on, or the length of ``text``."""
    places = [place for place in (text.find(character, start) for character in characters) if place >= 0]
    return min(places, default=len(text))
