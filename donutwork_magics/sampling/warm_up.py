"""Walking the whole path of a ping once before the first that counts, without a request to the target."""

from __future__ import annotations

import secrets
import socket
import threading
from functools import cache
from typing import Final

from donutwork_magics.client.client import Client
from donutwork_magics.client.settings import sandbox_target
from donutwork_magics.interrupts import start_thread
from donutwork_magics.network.sockets import park

_BODY: Final = b'{"status": "success", "env": "staging", "RRT": "0.08 ms"}'
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
_PINGS: Final = 3


@cache
def warm_up() -> None:
    """Ping a socket of our own, once a process: first calls and their caches would cost the first row a millisecond."""
    park()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_answer, args=(listener,), daemon=True)
        start_thread(answering)
        port = listener.getsockname()[1]
        with Client(sandbox_target(f"http://127.0.0.1:{port}", secrets.token_hex(), None), timeout_s=1.0) as client:
            for _ in range(_PINGS):
                client.sample()
        answering.join()


def _answer(listener: socket.socket) -> None:
    listener.settimeout(1.0)
    try:
        connection, _address = listener.accept()
        with connection:
            connection.settimeout(1.0)
            for _ in range(_PINGS):
                connection.recv(4096)
                connection.sendall(_HEAD + _BODY)
    except OSError:
        # A machine that lets nobody listen just starts cold.
        return
