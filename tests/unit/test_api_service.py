"""Services with an HTTP API: where they are asked, and what their answers mean."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from resource_maker import make

from ocf_common.api_service import ApiService, judge
from ocf_common.connection_urls import parse_http_url
from ocf_common.deadline import Deadline
from ocf_common.forms import Form, Wsgi
from ocf_common.http_check import HttpAnswer, Unresolved
from ocf_common.identity import Tree
from ocf_common.outcomes import Attention, CheckFailed, Refused, Silent, WrongAnswer
from ocf_common.procfs import Proc


class Api(ApiService):
    name = "image"
    binary = "zzimage-api"
    project = "image"
    config = "/etc/image/image.conf"
    user = "root"
    wsgi = Wsgi("", "image.wsgi:application", "image-wsgi", {})
    bind_host = (("DEFAULT", "bind_host"),)
    bind_port = (("DEFAULT", "bind_port"),)
    default_port = 9292
    health_paths = ("/healthcheck", "/")
    request_path = "/v2/images?limit=1"


class TlsApi(Api):
    def uses_tls(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("status", "body", "logged_in", "finding"),
    [
        *((status, b"", logged_in, None) for status in (200, 204, 300, 302) for logged_in in (False, True)),
        (401, b"", False, None),
        (401, b"", True, Attention),
        (403, b"", False, None),
        (429, b"", False, Attention),
        (429, b"", True, Attention),
        (503, b"DISABLED BY FILE", False, Attention),
        (404, b"", False, WrongAnswer),
        (404, b"", True, WrongAnswer),
        (400, b"", True, WrongAnswer),
        *((status, b"", logged_in, WrongAnswer) for status in (500, 502, 503, 504) for logged_in in (False, True)),
        (100, b"", False, WrongAnswer),
    ],
)
def test_meaning_of_a_status(status: int, body: bytes, logged_in: bool, finding: type[CheckFailed] | None) -> None:
    def ask() -> None:
        judge(HttpAnswer(status, {}, body), parse_http_url("http://h:1/"), logged_in)

    if finding is None:
        ask()
    else:
        with pytest.raises(finding, match=r"http://h:1|DISABLED"):
            ask()


@pytest.mark.parametrize(
    ("text", "given", "url"),
    [
        ("", {}, "http://127.0.0.1:9292/"),
        ("bind_host = 0.0.0.0", {}, "http://127.0.0.1:9292/"),
        ("bind_host = ::", {}, "http://[::1]:9292/"),
        ("bind_host = 192.0.2.7\nbind_port = 9393", {}, "http://192.0.2.7:9393/"),
        ("bind_port = many", {}, "http://127.0.0.1:9292/"),
        ("bind_port = 70000", {}, "http://127.0.0.1:9292/"),
        ("bind_host = 192.0.2.7", {"listen": "[2001:db8::1]:80"}, "http://[2001:db8::1]/"),
        ("bind_host = 192.0.2.7", {"listen": ":81"}, "http://127.0.0.1:81/"),
        ("bind_host = 192.0.2.7", {"url": "https://vip:443/v2/"}, "https://vip/v2/"),
    ],
)
def test_where_it_is_asked(tmp_path: Path, text: str, given: dict[str, str], url: str) -> None:
    found = make(Api, tmp_path, f"[DEFAULT]\n{text}\n", **given).base_url()
    expected = parse_http_url(url)
    assert (found.scheme, found.host, found.port) == (expected.scheme, expected.host, expected.port)


@pytest.mark.parametrize("text", ["$my_ip", "${my_ip}"])
def test_an_address_that_nova_finds_itself(tmp_path: Path, text: str) -> None:
    host = make(Api, tmp_path, f"[DEFAULT]\nbind_host = {text}\n").bind_address()[0]
    # An address of this very host, or it could not be bound.
    with socket.socket() as bound:
        bound.bind((host, 0))


@pytest.mark.parametrize(
    ("line", "scheme", "host", "port"),
    [
        ("http-socket = :5000", "http", "127.0.0.1", 5000),
        ("http = 192.0.2.7:5001", "http", "192.0.2.7", 5001),
        ("https = 192.0.2.7:5001,cert.pem,key.pem", "https", "192.0.2.7", 5001),
        ("http-socket = [::1]:5002", "http", "::1", 5002),
        ("http_socket = 192.0.2.7:5003", "http", "192.0.2.7", 5003),
        ("http-socket = nonsense here", "http", "127.0.0.1", 9292),
        ("socket = :3031", "http", "127.0.0.1", 9292),
    ],
)
def test_address_in_a_uwsgi_ini(tmp_path: Path, line: str, scheme: str, host: str, port: int) -> None:
    ini = tmp_path / "x.ini"
    ini.write_text(f"[uwsgi]\n{line}\n")
    (tmp_path / "uwsgi").write_text("")
    (tmp_path / "uwsgi").chmod(0o755)
    service = make(Api, tmp_path, binary=str(ini))
    service.environment.search_path = str(tmp_path)
    found = service.base_url()
    assert (found.scheme, found.host, found.port) == (scheme, host, port)


@pytest.mark.parametrize(
    ("text", "socket"),
    [("", ":9292"), ("bind_host = 0.0.0.0", "0.0.0.0:9292"), ("bind_host = ::1", "[::1]:9292")],
)
def test_socket_that_uwsgi_gets(tmp_path: Path, text: str, socket: str) -> None:
    assert make(Api, tmp_path, f"[DEFAULT]\n{text}\n").wsgi_socket(Form("module", "/x", "y")) == socket


@pytest.mark.parametrize(("text", "number"), [("workers = 3", 3), ("workers = 0", None), ("workers = x", None)])
def test_workers_that_uwsgi_gets(tmp_path: Path, text: str, number: int | None) -> None:
    workers = make(Api, tmp_path, f"[DEFAULT]\n{text}\n").workers()
    assert workers == number if number else 1 <= workers <= 4


def test_name_in_the_certificate(tmp_path: Path) -> None:
    text = "[DEFAULT]\npublic_endpoint = https://images.example.org/\n"
    service = make(TlsApi, tmp_path, text)
    assert service._tls(service.base_url()).server_name == "images.example.org"
    service = make(TlsApi, tmp_path / "proc", text, tls_name="other.example.org")
    assert service._tls(service.base_url()).server_name == "other.example.org"


class Server:
    """Answers each path with a status; it remembers what was asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.asked: list[str] = []
        self.hang = threading.Event()
        self.hang.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.hang.wait()
                self.send_response(server.statuses.get(self.path, 404))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.http.server_address[1])

    def close(self) -> None:
        self.hang.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def service_at(server: Server, folder: Path, **given: str) -> Any:
    return make(Api, folder, f"[DEFAULT]\nbind_port = {server.port}\n", **given)


def test_the_first_path_that_the_release_knows_is_the_answer(server: Server, tmp_path: Path) -> None:
    service = service_at(server, tmp_path)
    server.statuses = {"/healthcheck": 200}
    service.answers(Deadline(5), Tree())
    server.statuses = {"/": 300}
    service.answers(Deadline(5), Tree())
    assert server.asked == ["/healthcheck", "/healthcheck", "/"]


def test_a_service_that_knows_none_of_them_gives_a_wrong_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(WrongAnswer, match="404"):
        service_at(server, tmp_path).answers(Deadline(5), Tree())


def test_an_error_of_the_first_path_is_not_asked_away(server: Server, tmp_path: Path) -> None:
    server.statuses = {"/healthcheck": 503, "/": 200}
    with pytest.raises(WrongAnswer, match="503"):
        service_at(server, tmp_path).answers(Deadline(5), Tree())


def test_a_url_of_an_api_version_that_is_gone_is_asked_at_its_root(server: Server, tmp_path: Path) -> None:
    server.statuses = {"/": 300}
    service_at(server, tmp_path, url=f"http://127.0.0.1:{server.port}/v1/").answers(Deadline(5), Tree())
    assert server.asked == ["/v1/", "/"]


def test_an_empty_url_turns_the_request_off(server: Server, tmp_path: Path) -> None:
    service = service_at(server, tmp_path, url="")
    service.answers(Deadline(5), Tree())
    assert server.asked == []
    assert not service.is_asked()


@pytest.mark.parametrize(("status", "lives"), [(200, True), (429, True), (500, False)])
def test_whether_it_lives(server: Server, tmp_path: Path, status: int, lives: bool) -> None:
    server.statuses = {"/healthcheck": status}
    assert service_at(server, tmp_path).lives(Deadline(5), Tree()) is lives


def test_a_service_that_hangs_is_silent(server: Server, tmp_path: Path) -> None:
    server.hang.clear()
    with pytest.raises(Silent):
        service_at(server, tmp_path).answers(Deadline(0.3), Tree())


def test_a_closed_port_is_refused_also_after_a_wait(server: Server, tmp_path: Path) -> None:
    service = service_at(server, tmp_path)
    server.close()
    with pytest.raises(Refused):
        service.answers(Deadline(5), Tree())
    with pytest.raises(Refused):
        service.await_answer(0.3, Tree)
    assert service.own_port() == ("", server.port)


@pytest.mark.parametrize(("listens", "finding"), [(True, Attention), (False, Unresolved)])
def test_a_name_without_an_address_is_an_operators_matter_while_the_daemon_listens(
    server: Server, tmp_path: Path, listens: bool, finding: type[CheckFailed]
) -> None:
    service = make(Api, tmp_path, "[DEFAULT]\nbind_host = api.invalid\n")
    service.proc = Proc()
    tree = Tree()
    tree.main = service.proc.process(os.getpid()) if listens else None
    with pytest.raises(CheckFailed, match=r"api\.invalid cannot be resolved") as caught:
        service.answers(Deadline(5), tree)
    assert type(caught.value) is finding
    assert service.lives(Deadline(5), tree) is listens


def test_level_20_without_credentials_is_an_operators_matter(server: Server, tmp_path: Path) -> None:
    server.statuses = {"/healthcheck": 200}
    with pytest.raises(Attention, match="needs credentials"):
        service_at(server, tmp_path).works(Deadline(5), Tree())
