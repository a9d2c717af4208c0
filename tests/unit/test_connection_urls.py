"""Transport, database and HTTP URLs in their many spellings."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocf_common.connection_urls import (
    BrokerAddress,
    InvalidUrl,
    bracketed,
    join_port,
    parse_database_url,
    parse_http_url,
    parse_query,
    parse_transport_url,
    unquote,
)


def broker(address: BrokerAddress) -> tuple[str, int, str, str, str, bool]:
    a = address
    return (a.host, a.port, a.user, a.password, a.virtual_host, a.tls)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rabbit://u:p@h:5673/v", [("h", 5673, "u", "p", "v", False)]),
        ("rabbit://", [("localhost", 5672, "guest", "guest", "/", False)]),
        ("rabbit:///v", [("localhost", 5672, "guest", "guest", "v", False)]),
        ("rabbit://u:p@h", [("h", 5672, "u", "p", "/", False)]),
        ("rabbit://u:p@h/", [("h", 5672, "u", "p", "/", False)]),
        ("rabbit://u:p@h//", [("h", 5672, "u", "p", "/", False)]),
        ("rabbit://u:p@h/%2Fnova", [("h", 5672, "u", "p", "/nova", False)]),
        ("rabbit://u%40x:p%2F%3A%40@h/a%20b", [("h", 5672, "u@x", "p/:@", "a b", False)]),
        ("rabbit://u:p:q@r@h", [("h", 5672, "u", "p:q@r", "/", False)]),
        (
            "rabbit://u:p@h1:5671,u2:p2@[::1]:5673/v?ssl=True",
            [("h1", 5671, "u", "p", "v", True), ("::1", 5673, "u2", "p2", "v", True)],
        ),
        (
            "rabbit://u:p@h1,h2,,[fe80::1]",
            [
                ("h1", 5672, "u", "p", "/", False),
                ("h2", 5672, "guest", "guest", "/", False),
                ("fe80::1", 5672, "guest", "guest", "/", False),
            ],
        ),
        ("kombu+amqp://u:p@::1/v", [("::1", 5672, "u", "p", "v", False)]),
        ("amqps://u:p@h/v?x=1#f", [("h", 5672, "u", "p", "v", True)]),
    ],
)
def test_transport_urls(text: str, expected: list[tuple[str, int, str, str, str, bool]]) -> None:
    assert [broker(address) for address in parse_transport_url(text)] == expected


def test_tls_files_of_a_transport_url() -> None:
    (address,) = parse_transport_url(
        "rabbit://h/?ssl=1&ssl_ca_file=%2Fca.pem&ssl_cert_file=/c.pem&ssl_key_file=/k.pem&heartbeat=0"
    )
    files = (address.ssl_ca_file, address.ssl_cert_file, address.ssl_key_file)
    assert files == ("/ca.pem", "/c.pem", "/k.pem")


@pytest.mark.parametrize(
    "text",
    [
        "", "rabbit", "//h", "://h", "fake://h", "kombu+memory://h", "http://h", "rabbit://h:x", "rabbit://h:0",
        "rabbit://h:65536", "rabbit://h:-1", "rabbit://h:٣", "rabbit://[::1", "rabbit://[h]:1", "rabbit://[::1]x",
        "rabbit://a b/", "rabbit://a\n/", "rabbit://h1:1:2",
    ],
)  # fmt: skip
def test_refused_transport_urls(text: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_transport_url(text)
    assert "\n" not in caught.value.reason


def test_database_urls() -> None:
    address = parse_database_url(
        "mysql+pymysql://no%40va:s%2Fe@db:3307/nova?charset=utf8&ssl_ca=/ca&ssl_cert=/cert&ssl_key=/key"
    )
    assert (address.kind, address.host, address.port) == ("mysql", "db", 3307)
    assert (address.user, address.password, address.database) == ("no@va", "s/e", "nova")
    assert (address.ssl_ca, address.ssl_cert, address.ssl_key) == ("/ca", "/cert", "/key")


@pytest.mark.parametrize(
    ("text", "kind", "where", "password", "database"),
    [
        ("mysql://u:p@h/d", "mysql", "h:3306", "p", "d"),
        ("mariadb+mariadbconnector://h", "mysql", "h:3306", "", ""),
        ("mysql://u@[fe80::1]:33060/d", "mysql", "[fe80::1]:33060", "", "d"),
        ("mysql://u:p@/d?unix_socket=%2Frun%2Fdb.sock", "mysql", "/run/db.sock", "p", "d"),
        ("mysql://u:a@b@c@h/d?x=a@b", "mysql", "h:3306", "a@b@c", "d"),
        ("mysql://u:a/b?c@h:1/d", "mysql", "h:1", "a/b?c", "d"),
        ("mysql:///d:e@f", "mysql", "localhost:3306", "", "d:e@f"),
        ("mysql://h/d?x=a@b", "mysql", "h:3306", "", "d"),
        ("mysql://", "mysql", "localhost:3306", "", ""),
        ("postgresql+psycopg2://u:p@h/d", "postgresql", "h:5432", "p", "d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql", "/run/postgresql:5432", "", "d"),
        ("sqlite:////var/lib/nova.db", "sqlite", "/var/lib/nova.db", "", "/var/lib/nova.db"),
        ("sqlite:///nova.db", "sqlite", "nova.db", "", "nova.db"),
        ("sqlite://", "sqlite", ":memory:", "", ":memory:"),
        ("oracle://u:p@h:1521/d", "other", "h:1521", "p", "d"),
        ("ibm_db_sa://h/d", "other", "h:0", "", "d"),
    ],
)
def test_kinds_of_database(text: str, kind: str, where: str, password: str, database: str) -> None:
    address = parse_database_url(text)
    assert (address.kind, str(address), address.password, address.database) == (
        kind,
        where,
        password,
        database,
    )


@pytest.mark.parametrize("text", ["", "nova.db", "mysql:/h", "sqlite://host/x", "mysql://h:x/d", "mysql://h:0x/d"])
def test_refused_database_urls(text: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_database_url(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h", ("http", "h", 80, "/", "http://h/")),
        ("HTTPS://h:443/v3", ("https", "h", 443, "/v3", "https://h/v3")),
        ("http://127.0.0.1:8774/v2.1/?a=b#c", ("http", "127.0.0.1", 8774, "/v2.1/?a=b", None)),
        ("http://[::1]:80/", ("http", "::1", 80, "/", "http://[::1]/")),
        ("http://h?x=1", ("http", "h", 80, "/?x=1", None)),
        (" http://h:8774 \n", ("http", "h", 8774, "/", "http://h:8774/")),
    ],
)
def test_http_urls(text: str, expected: tuple[str, str, int, str, str | None]) -> None:
    url = parse_http_url(text)
    assert (url.scheme, url.host, url.port, url.path) == expected[:4]
    assert str(url) == (expected[4] or text.partition("#")[0].replace("h?", "h/?"))
    assert parse_http_url(str(url)) == url
    assert hash(parse_http_url(str(url))) == hash(url)
    assert str(url.with_path("/x")) == str(url).replace(url.path, "/x") if url.path != "/" else True


@pytest.mark.parametrize(
    "text",
    [
        "", "h", "ftp://h", "http://", "http:///x", "http://u:p@h/", "http://h:0", "http://h:65536",
        "http://h:/x y", "http://h/\r\nx", "http://ä/", "http://h/ä", "http://[::1/",
        "http://h:80:80/", "http://h:99999999999",
    ],
)  # fmt: skip
def test_refused_http_urls(text: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_http_url(text)


WORDS = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True) | st.ip_addresses().map(str)
PORTS = st.integers(1, 65535)


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


@given(st.lists(st.tuples(HOSTS, PORTS, WORDS, WORDS), min_size=1, max_size=3), WORDS)
def test_transport_url_round_trip(hosts: list[tuple[str, int, str, str]], virtual_host: str) -> None:
    places = ",".join(f"{quote(u)}:{quote(p)}@{join_port(h, n)}" for h, n, u, p in hosts)
    found = parse_transport_url(f"rabbit://{places}/{quote(virtual_host)}")
    assert [broker(address) for address in found] == [(*host, virtual_host, False) for host in hosts]


@given(HOSTS, PORTS, WORDS, WORDS, WORDS)
def test_database_url_round_trip(host: str, port: int, user: str, password: str, name: str) -> None:
    login = f"{quote(user)}:{quote(password)}"
    address = parse_database_url(f"mysql+pymysql://{login}@{join_port(host, port)}/{quote(name)}?charset=utf8")
    assert (address.host, address.port, address.user) == (host, port, user)
    assert (address.password, address.database) == (password, name)


@given(st.sampled_from(["http", "https"]), HOSTS, PORTS, st.lists(WORDS.map(quote)))
def test_http_url_round_trip(scheme: str, host: str, port: int, parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    url = parse_http_url(f"{scheme}://{bracketed(host)}:{port}{path}")
    assert (url.scheme, url.host, url.port, url.path) == (scheme, host, port, path)
    assert parse_http_url(str(url)) == url


SECRET = "Xy7pQ2wert"
PIECES = st.lists(st.sampled_from([SECRET, "/", "?", "@", ":", ",", "[", "]", "#", "h", "%", " ", "1"]), max_size=8)


@given(st.sampled_from(["rabbit", "mysql", "sqlite", "http", "x y"]), PIECES.map("".join) | st.text())
def test_any_text_is_read_or_refused_without_showing_the_password(scheme: str, text: str) -> None:
    for url in (f"{scheme}://u:{SECRET}{text}", f"{scheme}://{text}", text):
        for parse in (parse_transport_url, parse_database_url, parse_http_url):
            try:
                parse(url)
            except InvalidUrl as error:
                assert SECRET not in error.reason and "\n" not in error.reason


def test_repr_hides_the_password() -> None:
    (address,) = parse_transport_url(f"rabbit://u:{SECRET}@h/v")
    shown = repr(address) + repr(parse_database_url(f"mysql://u:{SECRET}@h/d")) + repr(parse_http_url("http://h"))
    assert SECRET not in shown
    assert "vhost='v' user='u'" in shown


@given(st.text() | st.lists(st.sampled_from(["%", "%4", "%41", "%ff", "% 1", "+", "ä"])).map("".join))
def test_unquote_is_that_of_urllib(text: str) -> None:
    assert unquote(text) == urllib.parse.unquote(text)


@given(st.dictionaries(WORDS, WORDS))
def test_query_round_trip(options: dict[str, str]) -> None:
    assert parse_query(urllib.parse.urlencode(options)) == options
    assert parse_query("a=1&a=2&b&=c") == {"a": "1,2"}
