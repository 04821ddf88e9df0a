"""Given replies of any size, memory stays as it was, that of a single call and that of a prober."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

from tests.faults.calls import KEY
from tests.faults.cases import BOMB, chunked, endless, head
from tests.servers import Handler, Server, answer_once, reply
from tests.servers import http2_faults as h2

MOST_MB = 50
PROGRAM = f"""
import json, resource, sys
import httpx
from donutwork_magics import Client, collect
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables
from tests.support.processes import probers_of

def errors(url, http):
    variables = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
    target = Target(httpx.URL(url), ApiKey("{KEY}", variables.key), variables)
    with Client(target, http=http) as client:
        single = client.sample().error
    return [single, *collect(2, rate_hz=None, http=http, target=target).error.astype(object)]

def peaks_mb():
    if sys.platform != "linux":
        # Of the prober, nobody knows there; both call in the same way.
        return [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)]
    peaks = []
    for pid in ("self", *probers_of()):
        # Not ru_maxrss: a new program inherits the peak of the process that started it.
        with open(f"/proc/{{pid}}/status") as status:
            peaks.append(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 2**10)
    return peaks

good, *bad = json.loads(sys.argv[1])
errors(*good)
before_mb = peaks_mb()
assert len(before_mb) == (2 if sys.platform == "linux" else 1)
for url, http in bad:
    met = errors(url, http)
    print(json.dumps([met, max(peak - before for peak, before in zip(peaks_mb(), before_mb, strict=True))]))
"""

# 56 MiB in 57 KB, and half a GiB in half a MB: what follows one gzip member is another.
SMALL_BOMB = BOMB * 7
LARGE_BOMB = BOMB * 64

FAULTS: dict[str, tuple[Handler, str, str]] = {
    "1 GiB": (endless(head("HTTP/1.1 200 OK", f"Content-Length: {2**30}"), b" " * 2**20), "1.1", "too_large"),
    "endless chunks": (endless(chunked(), b"100000\r\n" + b" " * 2**20 + b"\r\n"), "1.1", "too_large"),
    "endless header": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 2**20), "1.1", "protocol"),
    "small bomb": (answer_once(reply(SMALL_BOMB, "200 OK", "Content-Encoding: gzip")), "1.1", "invalid_body"),
    "large bomb": (answer_once(reply(LARGE_BOMB, "200 OK", "Content-Encoding: gzip")), "1.1", "too_large"),
    "endless DATA": (h2.flood(h2.endless_body, first=h2.headers), "2", "too_large"),
    "header bomb": (h2.say(h2.header_bomb), "2", "protocol"),
    "a frame of 16 MB": (
        h2.flood(lambda _: b"x" * 2**20, first=lambda s: h2.raw_frame(0, 0, s, b"", length=2**24 - 1)),
        "2",
        "protocol",
    ),
    "CONTINUATION flood": (h2.flood(h2.continuation_flood), "2", "protocol"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is asked of the resource module, which Windows lacks")
@pytest.mark.slow
def test_memory_grows_by_less_than_50_mb() -> None:
    with contextlib.ExitStack() as servers:
        good = servers.enter_context(Server(answer_once(reply()))).url
        bad = [(servers.enter_context(Server(handler)).url, http) for handler, http, _error in FAULTS.values()]
        command = [sys.executable, "-c", PROGRAM, json.dumps([(good, "1.1"), *bad])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    met = dict(zip(FAULTS, map(json.loads, done.stdout.splitlines()), strict=True))
    assert {name: errors for name, (errors, _mb) in met.items()} == {
        name: [error] * 3 for name, (_handler, _http, error) in FAULTS.items()
    }
    assert max(mb for _errors, mb in met.values()) < MOST_MB, met
