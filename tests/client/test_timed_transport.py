"""An `httpx.Client` of a user's own, on the transport that times its calls."""

from __future__ import annotations

import json
import logging
import math
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import donutwork_magics
from donutwork_magics import Client, SettingsError, TimedTransport, sandbox
from donutwork_magics.client.results import Ping
from donutwork_magics.client.settings import Target, read_setup
from donutwork_magics.types import Http
from tests.leaks import KEY
from tests.leaks.search import Search
from tests.leaks.servers import Echo, disguises
from tests.servers import BODY, Server, answer, answer_once, closed_port, hang, read_request, refuse_tls, reply, reset
from tests.servers.http2 import answer_http2
from tests.servers.tls import Tls, trusted

PING = "/2026-02-01/ping.json"
SEARCH = Search(KEY)


def target_of(url: str, tls: Tls | None = None) -> Target:
    target = read_setup({"DONUTWORK_API_KEY": KEY, "DONUTWORK_BASE_URL": url}).usable()
    return Target(target.base_url, target.key, target.variables, ca_pem=tls.ca_pem if tls else None)


@pytest.fixture
def seen() -> list[bytes]:
    """The requests that the server got."""
    return []


@pytest.fixture
def server(seen: list[bytes]) -> Iterator[Server]:
    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            seen.append(request)
            connection.sendall(reply())

    with Server(serve) as server:
        yield server


def get(url: str, path: str = PING, tls: Tls | None = None, **options: Any) -> httpx.Response:
    with TimedTransport(target_of(url, tls), **options) as t, httpx.Client(transport=t, base_url=t.base_url) as client:
        return client.get(path)


def failure(url: str, path: str = PING, tls: Tls | None = None, **options: Any) -> httpx.TransportError:
    with pytest.raises(httpx.TransportError) as caught:
        get(url, path, tls, **options)
    return caught.value


class TestTiming:
    def test_it_has_the_columns_of_a_ping(self, server: Server) -> None:
        with Client(target_of(server.url)) as client:
            ping = client.ping()
        assert isinstance(ping, Ping)
        response = get(server.url)
        timing = response.extensions["donutwork"]
        assert response.json() == {"status": "success", "env": "staging", "RRT": "0.08 ms"}
        assert type(timing) is dict
        assert list(timing) == [*ping.timing, "paused_ms"]
        phases = [timing[name] for name in ("dns_ms", "connect_ms", "tls_ms", "send_ms", "ttfb_ms", "receive_ms")]
        assert 0 < sum(phases) <= timing["duration_ms"]
        assert (timing["status_code"], timing["body_bytes"], timing["http_version"]) == (200, len(BODY), "1.1")
        assert math.isnan(timing["rrt_ms"])

    def test_the_connection_is_kept_unless_it_is_to_be_cold(self, server: Server) -> None:
        reused = {}
        for cold in (False, True):
            with TimedTransport(target_of(server.url), cold=cold) as t:
                client = httpx.Client(transport=t, base_url=t.base_url)
                reused[cold] = [client.get(PING).extensions["donutwork"]["reused"] for _ in range(3)]
        assert reused == {False: [False, True, True], True: [False] * 3}
        assert server.connections == 4

    def test_the_clients_of_httpx_close_it(self, server: Server) -> None:
        t = TimedTransport(target_of(server.url))
        for _ in range(2):
            with httpx.Client(transport=t, base_url=t.base_url) as client:
                assert not client.get(PING).extensions["donutwork"]["reused"]

    def test_any_path_below_the_base_url(self, server: Server, seen: list[bytes]) -> None:
        with TimedTransport(target_of(f"{server.url}/v1/")) as t, httpx.Client(transport=t, base_url=t.base_url) as c:
            assert c.get("things", params={"a": "b c"}, headers={"X-Own": "Value"}).status_code == 200
        assert seen[0].startswith(b"GET /v1/things?a=b+c HTTP/1.1\r\n")
        lines = seen[0].decode().split("\r\n")
        assert "X-Own: Value" in lines
        assert "Accept-Encoding: identity" in lines
        assert f"Authorization: Bearer {KEY}" in lines
        assert f"Host: {server.url.removeprefix('http://')}" in lines
        names = [line.partition(":")[0].lower() for line in lines[1:-2]]
        assert sorted(names) == sorted(set(names))
        assert "connection" not in names

    def test_the_host_is_always_that_of_the_target(self, server: Server, seen: list[bytes]) -> None:
        with TimedTransport(target_of(server.url)) as t, httpx.Client(transport=t, base_url=t.base_url) as client:
            client.get(PING, headers={"Host": "elsewhere.example"})
        assert b"elsewhere" not in seen[0]

    def test_http2(self) -> None:
        tls = trusted(protocol="h2")
        fields: list[tuple[str, str]] = []
        with Server(lambda connection: answer_http2(connection, fields), tls=tls.server) as server:
            response = get(server.url, f"{PING}?a=b", tls, http="2")
        assert response.http_version == "HTTP/2"
        assert response.extensions["donutwork"]["http_version"] == "2"
        assert response.extensions["donutwork"]["tls_ms"] > 0
        assert (":path", f"{PING}?a=b") in fields
        # What belongs to a connection of HTTP/1.1 is not sent (RFC 9113, section 8.2.2).
        assert not {"connection", "host", "transfer-encoding"} & dict(fields).keys()

    @pytest.mark.parametrize("status", [204, 301, 401, 404, 429, 500])
    def test_a_status_is_no_error(self, status: int) -> None:
        with Server(answer(reply(BODY if status != 204 else b"", f"{status} Text"))) as server:
            response = get(server.url)
        assert response.status_code == response.extensions["donutwork"]["status_code"] == status

    def test_chunks_and_a_body_in_another_encoding_arrive_as_they_are(self) -> None:
        body = "ä\xff".encode("latin-1")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain; charset=latin-1\r\n\r\n"
        with Server(answer(head + b"2\r\n" + body + b"\r\n0\r\n\r\n")) as server:
            response = get(server.url)
        assert response.content == body
        assert response.text == "ä\xff"
        assert response.headers["content-length"] == "2"
        assert "transfer-encoding" not in response.headers

    def test_threads_that_share_it_wait_for_one_another(self, server: Server) -> None:
        responses = []
        with TimedTransport(target_of(server.url)) as t, httpx.Client(transport=t, base_url=t.base_url) as client:
            threads = [threading.Thread(target=lambda: responses.append(client.get(PING))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [response.content for response in responses] == [BODY] * 8
        assert server.connections == 1

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
    def test_a_fork_while_another_thread_calls_waits_for_nobody(self) -> None:
        code = """
import os, signal, sys, threading
import httpx
from donutwork_magics import TimedTransport, sandbox
with sandbox(latency="500ms"), TimedTransport() as transport:
    client = httpx.Client(transport=transport, base_url=transport.base_url)
    thread = threading.Thread(target=client.get, args=("/2026-02-01/ping.json",))
    thread.start()
    while not transport._one_call.locked():
        pass
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(client.get("/2026-02-01/ping.json").status_code != 200)
    print(os.waitpid(child, 0)[1])
    thread.join()
"""
        python = [sys.executable, "-W", "ignore::DeprecationWarning"]
        done = subprocess.run([*python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.stderr) == ("0\n", "")

    def test_no_call_imports_what_looks_up_a_name(self) -> None:
        # A fork in the middle of an import leaves the child waiting for it.
        code = "import sys, donutwork_magics.client.client\nprint('encodings.idna' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "True\n"


class TestRefused:
    """Requests that are not sent."""

    def test_another_origin_is_not_called(self, server: Server) -> None:
        with Server(answer(reply())) as other, TimedTransport(target_of(server.url)) as t:
            client = httpx.Client(transport=t, base_url=t.base_url)
            for url in (
                other.url,
                server.url.replace("http:", "https:"),
                server.url.replace("localhost", "127.0.0.1"),
                f"http://localhost:{server.port}.example",
            ):
                with pytest.raises((httpx.LocalProtocolError, httpx.InvalidURL)):
                    client.get(f"{url}/a-word-of-mine")
            with pytest.raises(httpx.LocalProtocolError, match=r"^TimedTransport calls localhost:") as caught:
                client.get(f"{other.url}/a-word-of-mine")
        assert "a-word-of-mine" not in str(caught.value)
        assert other.connections == server.connections == 0

    def test_nor_is_it_by_a_redirect(self, seen: list[bytes]) -> None:
        with Server(answer(reply())) as other:

            def redirect(connection: socket.socket) -> None:
                while request := read_request(connection):
                    seen.append(request)
                    to = "/second" if b"/first" in request else f"{other.url}/third"
                    connection.sendall(reply(b"", "302 Found", f"Location: {to}"))

            with Server(redirect) as own, TimedTransport(target_of(own.url)) as t:
                client = httpx.Client(transport=t, base_url=t.base_url, follow_redirects=True)
                with pytest.raises(httpx.LocalProtocolError, match="calls localhost:"):
                    client.get("/first")
        assert len(seen) == 2
        assert other.connections == 0

    @pytest.mark.parametrize(
        ("method", "options", "says"),
        [
            ("POST", {}, "sends GET requests only"),
            ("HEAD", {}, "sends GET requests only"),
            ("get", {"content": b"x"}, "sends no body"),
            ("GET", {"json": {}}, "sends no body"),
            ("GET", {"data": {"a": "b"}}, "sends no body"),
            ("GET", {"content": iter([b"", b"x"])}, "sends no body"),
            ("GET", {"headers": {"Authorization": "Bearer another"}}, "adds the key itself"),
            ("GET", {"auth": ("user", "password")}, "adds the key itself"),
            ("GET", {"headers": {"X-A": "b\r\nX-C: d"}}, "cannot be sent"),
            ("GET", {"headers": {"X-A\r\nX-C": "d"}}, "cannot be sent"),
            ("GET", {"headers": {"X A": "b"}}, "cannot be sent"),
        ],
    )
    def test_what_it_is_not_for(self, method: str, options: dict[str, Any], says: str, server: Server) -> None:
        with TimedTransport(target_of(server.url)) as t, httpx.Client(transport=t, base_url=t.base_url) as client:
            with pytest.raises(httpx.LocalProtocolError, match=says) as caught:
                client.request(method, PING, **options)
            # And it goes on.
            assert client.get(PING).status_code == 200
        assert "\n" not in str(caught.value)
        assert "password" not in str(caught.value)

    def test_arguments_that_cannot_be_used(self) -> None:
        for options in ({"timeout_s": 0}, {"http": "3.0"}, {"family": 4}, {"cold": "no"}, {"env": "moon"}):
            with pytest.raises(ValueError, match="needs"):
                TimedTransport(target_of("http://127.0.0.1:9"), **options)


class TestFaults:
    """What the network does is an exception of httpx, with our text and our name for it."""

    def test_nobody_listens(self) -> None:
        with closed_port() as port:
            error = failure(f"http://127.0.0.1:{port}")
        self.check(error, httpx.ConnectError, "connect")

    def test_a_name_that_does_not_exist(self) -> None:
        self.check(failure("https://donutwork.invalid"), httpx.ConnectError, "dns")

    def test_no_tls(self, tls: Tls) -> None:
        with Server(refuse_tls) as server:
            error = failure(server.url.replace("http:", "https:"), tls=tls)
        self.check(error, httpx.ConnectError, "tls")

    def test_a_server_that_hangs(self, tls: Tls) -> None:
        with Server(hang) as server:
            error = failure(server.url, timeout_s=0.2)
            self.check(error, httpx.ReadTimeout, "timeout")
            assert error.timing["ttfb_ms"] != error.timing["ttfb_ms"]  # type: ignore[attr-defined]
            assert error.timing["duration_ms"] >= 200  # type: ignore[attr-defined]
            error = failure(server.url.replace("http:", "https:"), tls=tls, timeout_s=0.2)
            self.check(error, httpx.ConnectTimeout, "timeout")

    def test_a_reset(self) -> None:
        with Server(reset) as server:
            error = failure(server.url)
        assert isinstance(error, httpx.ReadError | httpx.WriteError)
        self.check(error, httpx.NetworkError, "connection_lost")

    @pytest.mark.parametrize(
        ("raw", "kind"),
        [
            (b"220 mail.example ESMTP\r\n", "protocol"),
            (reply(b"x" * 70_000), "too_large"),
            (reply(BODY, "200 OK", "Content-Encoding: gzip"), "invalid_body"),
        ],
    )
    def test_a_reply_that_cannot_be_used(self, raw: bytes, kind: str) -> None:
        with Server(answer(raw)) as server:
            self.check(failure(server.url), httpx.RemoteProtocolError, kind)

    def test_the_next_call_goes_out_on_a_new_connection(self) -> None:
        handlers = iter([answer_once(reply()[:-5]), answer(reply())])

        def one_after_the_other(connection: socket.socket) -> None:
            next(handlers)(connection)

        with (
            Server(one_after_the_other) as server,
            TimedTransport(target_of(server.url)) as t,
        ):
            client = httpx.Client(transport=t, base_url=t.base_url)
            with pytest.raises(httpx.ReadError):
                client.get(PING)
            assert client.get(PING).content == BODY

    @staticmethod
    def check(error: httpx.TransportError, expected: type[httpx.TransportError], kind: str) -> None:
        assert isinstance(error, expected)
        assert error.kind == kind  # type: ignore[attr-defined]
        assert str(error).startswith(f"{kind}: ")
        assert "\n" not in str(error)
        assert error.__context__ is error.__cause__ is None
        assert str(error.request.url).endswith(PING)
        assert SEARCH.text(repr((error, vars(error), vars(error.request)))) == set()


class TestTarget:
    @pytest.fixture(autouse=True)
    def _environment(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DONUTWORK_BASE_URL", server.url)
        monkeypatch.setenv("DONUTWORK_API_KEY", KEY)

    def test_it_is_the_environment_s_or_the_sandbox_that_is_on(self, server: Server, seen: list[bytes]) -> None:
        with TimedTransport() as outside:
            client = httpx.Client(transport=outside, base_url=outside.base_url)
            assert client.get(PING).status_code == 200
            with sandbox() as box:
                with TimedTransport(env="production") as t, httpx.Client(transport=t, base_url=t.base_url) as within:
                    assert str(t.base_url) == box.url
                    assert t.target.sandbox
                    assert within.get(PING).json()["env"] == "production"
                    assert within.get("/nowhere").status_code == 404
                with pytest.raises(SettingsError, match="switched on or off"):
                    client.get(PING)
            assert client.get(PING).status_code == 200
        assert len(seen) == 2

    def test_one_that_is_named_is_called_although_a_sandbox_is_on(self, server: Server, seen: list[bytes]) -> None:
        with sandbox():
            assert get(server.url).status_code == 200
        assert len(seen) == 1

    def test_a_sandbox_that_died_lets_no_call_through_to_the_api(self, seen: list[bytes]) -> None:
        with sandbox() as box, TimedTransport() as t:
            client = httpx.Client(transport=t, base_url=t.base_url)
            assert client.get(PING).status_code == 200
            box.stop()
            with pytest.raises(httpx.ConnectError, match=r"^connect: No connection to the sandbox"):
                client.get(PING)
            with pytest.raises(SettingsError, match="has ended unexpectedly"):
                TimedTransport()
        assert seen == []

    def test_a_missing_key_is_said_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DONUTWORK_API_KEY")
        with pytest.raises(SettingsError, match=r"^No API key"):
            TimedTransport()

    def test_it_is_a_public_name(self) -> None:
        assert "TimedTransport" in donutwork_magics.__all__


class TestKey:
    def everything_of(self, response: httpx.Response) -> str:
        request = response.request
        shown = [response.content.decode("latin-1"), response.text, *map(str, response.headers.raw)]
        shown += [repr(vars(request)), repr(request.headers.raw), str(vars(response)), str(response.extensions)]
        shown += [str(response.next_request and (response.next_request.url, response.next_request.headers.raw))]
        if response.headers.get("content-type") == "application/json":
            shown.append(json.dumps(response.json(), ensure_ascii=False))
        return "\n".join(shown)

    @pytest.mark.parametrize(
        ("http", "scene"),
        [
            *(("1.1", scene) for scene in ("ok", "text", "503", "redirect/port", "encoded", "hang")),
            *(("2", scene) for scene in ("ok", "env", "401", "limited", "redirect/same", "hang")),
        ],
    )
    def test_it_is_in_no_object_of_httpx(self, scene: str, http: Http) -> None:
        echo = Echo("http://127.0.0.1:9")
        with Server(echo.http2 if http == "2" else echo.http1) as server:
            echo.own = lambda: server.url
            with TimedTransport(target_of(f"{server.url}/{scene}"), http=http, timeout_s=1.0) as t:
                client = httpx.Client(transport=t, base_url=t.base_url)
                shown = []
                # As many as there are ways in which the echo repeats it.
                for _ in range(1 if scene == "hang" else 40):
                    try:
                        shown.append(self.everything_of(client.get(PING)))
                    except httpx.TransportError as error:
                        assert scene in {"encoded", "hang"}
                        shown.append(repr((error, vars(error), vars(error.request), error.request.headers.raw)))
                shown.append(repr((t, vars(t), client, vars(client), list(client.cookies.jar))))
        assert set(echo.received) == {f"Bearer {KEY}"}
        assert SEARCH.text("\n".join(dict.fromkeys("\n".join(shown).splitlines()))) == set()

    @pytest.mark.parametrize("http", ["1.1", "2"])
    def test_it_is_in_no_log(self, http: Http, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        # Not what the server logs.
        own = threading.get_ident()
        caplog.handler.addFilter(lambda record: record.thread == own)
        echo = Echo("http://127.0.0.1:9")
        with (
            Server(echo.http2 if http == "2" else echo.http1) as server,
            TimedTransport(target_of(f"{server.url}/ok"), http=http) as t,
        ):
            client = httpx.Client(transport=t, base_url=t.base_url)
            for _ in range(3):
                assert client.get(PING).status_code == 200
        assert "HTTP Request: GET" in caplog.text
        assert SEARCH.text(caplog.text) == set()

    @pytest.mark.parametrize("escaped", [True, False])
    @pytest.mark.parametrize("name", disguises(KEY))
    def test_a_server_that_hides_it(self, name: str, escaped: bool) -> None:
        text = disguises(KEY)[name]
        document = {"a": text, text: [text, {"deep": f"before {text} after"}], "n": 5, "other": "ä\n"}
        body = json.dumps(document, ensure_ascii=escaped).encode()
        with Server(answer(reply(body, "200 OK", "Content-Type: application/json"))) as server:
            response = get(server.url)
        assert SEARCH.text(self.everything_of(response)) == set()
        # JSON is still JSON, and the rest of it is as it was.
        assert (response.json()["n"], response.json()["other"]) == (5, "ä\n")

    @pytest.mark.parametrize("name", ["U+200B", "U+0336", "full width"])
    @pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16-le", "utf-7", "unicode_escape", "unknown", "hex"])
    def test_a_server_that_hides_it_with_bytes_of_no_text(self, charset: str, name: str) -> None:
        encoding = "utf-8" if charset in {"unknown", "hex", "latin-1"} else charset
        body = disguises(KEY)[name].encode(encoding) + b"\xff"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}\r\nContent-Length: {len(body)}\r\n"
        hidden = disguises(KEY)[name].encode() + b"\xff"
        with Server(answer(head.encode() + b"X-Own: " + hidden + b"\r\n\r\n" + body)) as server:
            response = get(server.url)
        shown = [response.content.decode(encoding, "replace"), str(response.headers)]
        shown += [value.decode("utf-8", "replace") for _, value in response.headers.raw]
        # httpx cannot make a text of hexadecimal digits.
        shown += [] if charset == "hex" else [response.text]
        assert SEARCH.text("\n".join(shown)) == set()

    def test_json_in_another_encoding(self) -> None:
        with Server(answer(reply(json.dumps(disguises(KEY)["full width"], ensure_ascii=False).encode("utf-16")))) as s:
            assert get(s.url).json() == "[redacted]"

    def test_bytes_of_no_text_that_do_not_hold_it_are_not_touched(self) -> None:
        body = bytes(range(256)) * 2
        for charset in ("utf-8", "utf-16", "latin-1", "ascii", "unknown", "hex"):
            with Server(answer(reply(body, "200 OK", f"Content-Type: text/plain; charset={charset}"))) as own:
                assert get(own.url).content == body

    def test_a_document_of_several_lines_of_json(self) -> None:
        escaped = "".join(f"\\u{ord(char):04x}" for char in KEY)
        body = f'{{"a": 1}}\n{{"b": "{escaped}"}}\n'.encode()
        with Server(answer(reply(body))) as server:
            response = get(server.url)
        assert response.text == '{"a": 1}\n{"b": "[redacted]"}\n'

    def test_a_reply_without_it_is_not_touched(self) -> None:
        body = '{"a": "\\u00e4\\n ä", "a": 1e400,  "b": "' + "x" * 60_000 + '"}'
        with Server(answer(reply(body.encode()))) as server:
            began_s = time.perf_counter()
            assert get(server.url).text == body
        assert time.perf_counter() - began_s < 5

    def test_it_cannot_be_pickled(self, server: Server) -> None:
        with TimedTransport(target_of(server.url)) as t, pytest.raises(TypeError):
            pickle.dumps(t)
