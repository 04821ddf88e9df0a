"""``python -m tests.benchmarks.slow_server SERVICE_MS [AT:FOR]``: one request at a time, each of a known length."""

from __future__ import annotations

import selectors
import socket
import sys
import time

from tests.servers import reply

REPLY = reply()
_SPIN_S = 0.0003


def main(service_ms: float, stall: str = "") -> None:
    """Print the port, and serve until the end; all connections wait for one another, as at one busy worker."""
    stall_at_s, stall_s = map(float, stall.split(":")) if stall else (float("inf"), 0.0)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    first_s = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is listener:
                    connection, _address = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ)
                elif sock.recv(4096):
                    arrived_s = time.perf_counter()
                    first_s = first_s or arrived_s
                    if arrived_s - first_s >= stall_at_s:
                        stall_at_s = float("inf")
                        time.sleep(stall_s)
                    _until(time.perf_counter() + service_ms / 1e3)
                    sock.sendall(REPLY)
                else:
                    selector.unregister(sock)
                    sock.close()


def _until(due_s: float) -> None:
    # A sleep alone overshoots, by a different amount each time.
    time.sleep(max(0.0, due_s - time.perf_counter() - _SPIN_S))
    while time.perf_counter() < due_s:
        pass


if __name__ == "__main__":
    main(float(sys.argv[1]), *sys.argv[2:])
