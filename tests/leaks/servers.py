"""Servers that record what they get, and repeat the Authorization header in whatever way a scene asks for.

The first part of a request's path is the scene, so that one server plays them all.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.servers import hang


def echoes(authorization: str) -> list[str]:
    """Return what a server may make of an Authorization header: encoded whole, and in slices."""
    key = authorization.removeprefix("Bearer ")
    whole = [authorization, key, quote(key, safe=""), quote(authorization).replace("%20", "+").lower()]
    coded = [base64.b64encode(b"x" * shift + key.encode()).decode() for shift in range(3)]
    coded += [base64.urlsafe_b64encode(text.encode()).decode() for text in (authorization, key)]
    slices = [key[at : at + 12] for at in range(0, len(key) - 11, 5)]
    return [*whole, *coded, *slices, f"a {key[3:17]} b", re.sub("%..", lambda c: c[0].lower(), quote(key, safe=""))]


def disguises(key: str) -> dict[str, str]:
    """Return, by name, what a reader takes for a key, and what is another text to whoever compares it."""
    # Zero-width space, joiner and word joiner; soft hyphen; two variation selectors; two combining marks; private use;
    # two bidirectional controls; line separator; controls of C0 and C1; no-break space; Hangul fillers; no character.
    between = (
        "\u200b\u200d\u2060\xad\ufe0f\U000e0100\u0336\u034f\ue000\u202e\u2066\u2028\0\x1b\x9b\n\xa0\u3164\u115f\ufdd0 "
    )
    coded = base64.b64encode(f"Bearer {key}".encode()).decode()
    return {
        **{f"U+{ord(char):04X}": char.join(key) for char in between},
        "each another": "".join(f"{char}{between[at % len(between)]}" for at, char in enumerate(key)),
        "base64 in lines": "\n".join(coded[at : at + 9] for at in range(0, len(coded), 9)),
        "full width": "".join(chr(ord(char) + 0xFEE0) for char in key),
        "bold": "".join(chr(ord(char) + 0x1D400 - ord("A")) if "A" <= char <= "Z" else char for char in key),
    }


@dataclass(frozen=True)
class Answer:
    """A reply, before it is put into either version of HTTP."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Raw = Callable[[socket.socket, str], None]
"""What a scene does that only bytes can say; it gets the Authorization header."""


class Echo:
    """The handler of a `tests.servers.Server`, for HTTP/1.1 or HTTP/2.

    Parameters
    ----------
    elsewhere
        The base URL of a server that must never be called.
    own
        Tells the base URL of this one.

    Attributes
    ----------
    received : list of str
        The value of the Authorization header of each request, empty where there was none.
    """

    def __init__(self, elsewhere: str, own: Callable[[], str] = str) -> None:
        self._elsewhere = elsewhere
        self.own = own
        self._turn = count()
        self.received: list[str] = []

    def http1(self, connection: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                more = connection.recv(65536)
                if not more or not (buffer + more).startswith(b"GET"):
                    return
                buffer += more
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            request_line, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            if not self._answer_http1(connection, request_line.split(" ")[1], headers.get("authorization", "")):
                return

    def _answer_http1(self, connection: socket.socket, path: str, authorization: str) -> bool:
        self.received.append(authorization)
        scene = path.split("/")[1]
        if scene in RAW:
            RAW[scene](connection, authorization)
            return False
        answer = self._answer(path, authorization)
        headers = {"Content-Length": str(len(answer.body))} | answer.headers
        lines = [f"HTTP/1.1 {answer.status} {authorization}", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
        return True

    def http2(self, connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            try:
                events = state.receive_data(data)
            except h2.exceptions.ProtocolError:
                return
            for event in events:
                if isinstance(event, h2.events.RequestReceived):
                    assert event.stream_id is not None
                    headers = {str(name): str(value) for name, value in event.headers}
                    if not self._answer_http2(connection, state, event.stream_id, headers):
                        return
            connection.sendall(state.data_to_send())

    def _answer_http2(
        self, connection: socket.socket, state: h2.connection.H2Connection, stream: int, headers: dict[str, str]
    ) -> bool:
        path, authorization = headers[":path"], headers.get("authorization", "")
        self.received.append(authorization)
        scene = path.split("/")[1]
        if scene == "goaway":
            state.close_connection(additional_data=authorization.encode(), last_stream_id=0)
            connection.sendall(state.data_to_send())
            return False
        if scene in RAW:
            RAW[scene](connection, authorization)
            return False
        answer = self._answer(path, authorization)
        lines = [(name.lower(), value) for name, value in answer.headers.items()]
        state.send_headers(stream, [(":status", str(answer.status)), *lines])
        # A reply that would not fit the window is cut: it is too large to be read anyway.
        state.send_data(stream, answer.body[: state.local_flow_control_window(stream)][:16000], end_stream=True)
        return True

    def _answer(self, path: str, authorization: str) -> Answer:
        _, scene, *_ = path.split("/")
        plain, hidden = echoes(authorization), list(disguises(authorization.removeprefix("Bearer ")).values())
        turn = next(self._turn)
        # A header takes no disguise, and over HTTP/2 a body not all of them.
        line, text = plain[turn % len(plain)], [*plain, *hidden][turn % len([*plain, *hidden])]
        texts = [*plain, text, hidden[turn % len(hidden)]]
        told = {f"X-Echo-{number}": one for number, one in enumerate(plain)}
        if scene == "redirect":
            to = path.split("/")[2]
            own = self.own()
            location = {
                "port": f"{self._elsewhere}{path}?{quote(authorization)}",
                "same": f"{own}/ok/2026-02-01/ping.json?key={quote(line)}",
                "absolute": "/ok/2026-02-01/ping.json",
                "host": f"//{self._elsewhere.partition('//')[2]}/ok/2026-02-01/ping.json",
            }[to]
            return Answer(b"", 302 if to != "host" else 308, {"Location": location, **told})
        if scene.isdigit():
            body = {"error": "Invalid token" if scene == "400" else text, "echo": texts}
            return Answer(json.dumps(body).encode(), int(scene), {"Retry-After": "0", "WWW-Authenticate": line, **told})
        if scene == "limited":
            return Answer(text.encode(), 429, {"Retry-After": line})
        if scene == "text":
            return Answer(text.encode(), 200, told)
        if scene == "encoded":
            return Answer(text.encode(), 200, {"Content-Encoding": line})
        if scene == "large":
            return Answer(authorization.encode() * 10_000)
        body = self._body(path, text, texts, scene)
        return Answer(json.dumps(body).encode(), 200, {"Set-Cookie": f"a={line}", "Server": line, "Date": line, **told})

    def _body(self, path: str, text: str, texts: list[str], scene: str) -> dict[str, Any]:
        # In the names too: each in an object of its own, as redacted names are all the same.
        unknown = {"told": texts, "names": [{one: one} for one in texts], "deep": {"a": [{"b": [" ".join(texts)]}]}}
        env = "staging" if scene in {"ok", "status", "untyped"} else text
        if path.endswith("ping.json"):
            status = text if scene == "status" else "success"
            return {"status": status, "env": env, "RRT": [text] if scene == "untyped" else text, **unknown}
        seen = {"userAgent": text, "ips": {"ipv4": text, "ipv6": text, text: text}}
        endpoint = {"apiVersion": text, "env": env, "protocol": [text] if scene == "untyped" else text}
        return {"client": {} if scene == "status" else seen, "endpoint": endpoint, **unknown}


def _reset(connection: socket.socket, authorization: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _sends(make: Callable[[bytes], bytes]) -> Raw:
    def act(connection: socket.socket, authorization: str) -> None:
        connection.sendall(make(authorization.encode()))

    return act


RAW: dict[str, Raw] = {
    "hang": lambda connection, _authorization: hang(connection),
    "reset": _reset,
    "closed": lambda _connection, _authorization: None,
    "goaway": lambda _connection, _authorization: None,
    "garbage": _sends(lambda echo: echo * 20),
    "statusline": _sends(lambda echo: b"HTTP/1.1 " + echo + b"\r\n\r\n"),
    "headerline": _sends(lambda echo: b"HTTP/1.1 200 OK\r\n" + echo + b"\r\n\r\n"),
    "headername": _sends(lambda echo: b"HTTP/1.1 200 OK\r\n" + echo + b": 1\r\n\r\n"),
    "length": _sends(lambda echo: b"HTTP/1.1 200 OK\r\nContent-Length: " + echo + b"\r\n\r\n"),
    "chunks": _sends(lambda echo: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + echo + b"\r\n"),
    "coding": _sends(lambda echo: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + echo + b"\r\n\r\n"),
    "short": _sends(lambda echo: b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + echo),
    "unended": _sends(lambda echo: b"HTTP/1.1 200 OK\r\nX-Echo: " + echo),
}


class Recorder:
    """The handler of a server that must never be called: a proxy, or where a redirect leads.

    Attributes
    ----------
    received : bytearray
        All that came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = bytearray()

    def __call__(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            with self._lock:
                self.received += data
