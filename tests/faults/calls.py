"""One call and one series to a server, and what must be true of how each of them ends."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pandas as pd

from donutwork_magics import Client, DonutworkError, SeriesError, collect
from donutwork_magics.client.key import ApiKey
from donutwork_magics.client.settings import Target, Variables
from donutwork_magics.errors import KINDS
from donutwork_magics.types import Http

KEY = "dw_test_Kx81mZq0vTnR57yE"
VARIABLES = Variables("DONUTWORK_API_KEY", "DONUTWORK_BASE_URL")
GRACE_S = 2.0
"""How late a busy machine may be."""
FOREIGN = (
    "httpx",
    "httpcore",
    "h11",
    "h2.",
    "hpack",
    "hyperframe",
    "ssl.",
    "SSL",
    "msgspec",
    "json.",
    "Error",
    "Exception",
    "Traceback",
    "_ssl.c",
)


@dataclass(frozen=True)
class Ended:
    """How a single call and a series ended."""

    error: DonutworkError | None
    took_s: float
    df: pd.DataFrame


def target_of(url: str, ca_pem: str | None = None) -> Target:
    return Target(httpx.URL(url), ApiKey(KEY, VARIABLES.key), VARIABLES, ca_pem=ca_pem)


def call_both(target: Target, *, timeout_s: float, http: Http = "auto") -> Ended:
    """Make a single call and a series of two pings, side by side."""
    with ThreadPoolExecutor(1) as aside:
        series = aside.submit(rows, target, timeout_s, http)
        error, took_s = single(target, timeout_s, http)
        return Ended(error, took_s, series.result())


def rows(target: Target, timeout_s: float, http: Http = "auto") -> pd.DataFrame:
    # As fast as is polite.
    rate_hz = None if target.is_loopback else 20.0
    try:
        return collect(2, rate_hz=rate_hz, concurrency=2, cold=True, http=http, timeout_s=timeout_s, target=target)
    except SeriesError as error:
        df = error.df
    assert isinstance(df, pd.DataFrame)
    return df


def single(target: Target, timeout_s: float, http: Http = "auto") -> tuple[DonutworkError | None, float]:
    began_s = time.perf_counter()
    error: DonutworkError | None = None
    # Nothing but a DonutworkError is caught: anything else fails the test.
    with contextlib.closing(Client(target, http=http, timeout_s=timeout_s)) as client:
        try:
            client.ping()
        except DonutworkError as caught:
            error = caught
    return error, time.perf_counter() - began_s


def assert_one_line(error: DonutworkError) -> None:
    """Check that it is one line of ours, and that nothing else hangs on to it."""
    text = str(error)
    assert error.kind in KINDS
    assert type(error) is DonutworkError
    assert error.args == (text,)
    assert text.isprintable(), text
    assert len(text) < 500, text
    assert not [word for word in FOREIGN if word in text], text
    assert KEY not in text
    assert error.__context__ is None
    assert error.__cause__ is None
    assert error._render_traceback_() == [f"DonutworkError: {text}"]
