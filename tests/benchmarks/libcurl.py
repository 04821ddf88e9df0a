"""Do the phases of cold pings hold against libcurl's own timings?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Final

from donutwork_magics.client.client import Client
from tests.benchmarks.figures import Figure, interval
from tests.benchmarks.targets import Served, nginx

_PINGS = 200
_PHASES: Final = ("dns", "connect", "tls", "send + ttfb", "receive")
_TOLERANCE_MS: Final = 0.1


def phases() -> Iterator[Figure]:
    """Ping in turn, each time on a new connection, in one process with one file of roots."""
    import pycurl

    with nginx(tls=True) as served, Client(served.target, http="1.1", cold=True) as client:
        ours, theirs = [], []
        for _ in range(_PINGS + 1):
            ours.append(_ours(client))
            theirs.append(_curl(pycurl, served))
    # The first has caches to fill.
    del ours[0], theirs[0]
    for phase, one, other in zip(_PHASES, zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        ours_ms, curl_ms = statistics.median(one), statistics.median(other)
        share = 0.25 if phase == "tls" else 0.10
        beside = f"{ours_ms:.4g} ms by {curl_ms:.4g} ms"
        differences = [a - b for a, b in zip(one, other, strict=True)]
        if abs(ours_ms - curl_ms) <= _TOLERANCE_MS:
            low, high = interval(differences)
            name = f"cold {phase} less libcurl's"
            yield Figure(name, ours_ms - curl_ms, low, high, -_TOLERANCE_MS, _TOLERANCE_MS, beside, " ms")
        else:
            ratios = [a / b for a, b in zip(one, other, strict=True) if b]
            low, high = interval(ratios)
            name = f"cold {phase} / libcurl's"
            yield Figure(name, ours_ms / curl_ms, low, high, 1 - share, 1 + share, beside)


def _ours(client: Client) -> tuple[float, ...]:
    sample = client.sample()
    assert sample.error is None, sample
    dns_ms, connect_ms, tls_ms, send_ms, ttfb_ms, receive_ms = sample.exchange.phases
    return dns_ms, connect_ms, tls_ms, send_ms + ttfb_ms, receive_ms


def _curl(pycurl: object, served: Served) -> tuple[float, ...]:
    from io import BytesIO

    c = pycurl
    body = BytesIO()
    handle = c.Curl()  # type: ignore[attr-defined]
    options = {
        "URL": served.url,
        "CAINFO": str(served.ca_file),
        "HTTPHEADER": [f"Authorization: {served.target.key.authorization().decode()}", "Connection: close"],
        "FRESH_CONNECT": 1,
        "FORBID_REUSE": 1,
        "SSL_SESSIONID_CACHE": 0,
        "HTTP_VERSION": c.CURL_HTTP_VERSION_1_1,  # type: ignore[attr-defined]
        "TCP_NODELAY": 1,
        "NOPROXY": "*",
        "WRITEDATA": body,
    }
    for name, value in options.items():
        handle.setopt(getattr(c, name), value)
    handle.perform()
    moments = [
        handle.getinfo(getattr(c, f"{name}_TIME"))
        for name in ("NAMELOOKUP", "CONNECT", "APPCONNECT", "PRETRANSFER", "STARTTRANSFER", "TOTAL")
    ]
    assert handle.getinfo(c.RESPONSE_CODE) == 200  # type: ignore[attr-defined]
    handle.close()
    dns_s, connect_s, tls_s, ready_s, first_s, total_s = moments
    steps_s = (dns_s, connect_s - dns_s, tls_s - connect_s, first_s - ready_s, total_s - first_s)
    return tuple(step_s * 1e3 for step_s in steps_s)


FIGURES: tuple[Callable[[], Iterator[Figure]], ...] = (phases,)
