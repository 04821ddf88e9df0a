"""Given a server that breaks in this way, the row and the one line say so by name, within the deadline."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from donutwork_magics.errors import Kind
from donutwork_magics.types import Http
from tests.faults.calls import GRACE_S, Ended, assert_one_line, call_both, target_of
from tests.faults.cases import HTTP1, HTTP1_REPLIES, HTTP2, HTTP2_REPLIES, Fault
from tests.servers import Server
from tests.servers.tls import Tls

SHORT_S = 0.2
LONG_S = 5.0


def ids(faults: tuple[Fault, ...]) -> list[str]:
    return [fault.name[:30].replace(" ", "_").encode("ascii", "backslashreplace").decode() for fault in faults]


def meet(fault: Fault, tls: Tls | None, http: Http) -> Ended:
    with Server(fault.handler, tls=tls.server if tls else None) as server:
        target = target_of(server.url, tls.ca_pem if tls else None)
        return call_both(target, timeout_s=SHORT_S if fault.hangs else LONG_S, http=http)


def check(ended: Ended, fault: Fault, *also: Kind) -> None:
    within_s = (SHORT_S if fault.hangs else LONG_S) + GRACE_S
    names = {fault.error, *also}
    check_rows(ended.df, names, within_s)
    assert (ended.error and ended.error.kind) in names, ended.error
    assert ended.took_s < within_s
    if ended.error is not None:
        assert_one_line(ended.error)
    if fault.rrt is not None:
        assert ended.df.rrt[0] == fault.rrt[:100]
        assert math.isnan(ended.df.rrt_ms[0])
        assert math.isnan(ended.df.network_ms[0])


def check_rows(df: pd.DataFrame, names: set[Kind | None], within_s: float) -> None:
    assert len(df) in {1, 2}
    assert {None if pd.isna(each) else each for each in df.error} <= names
    assert (df.duration_ms > 0).all()
    assert (df.duration_ms < within_s * 1e3).all()
    if None not in names:
        assert df.rrt_ms.isna().all()


@pytest.mark.parametrize("fault", HTTP1 + HTTP1_REPLIES, ids=ids(HTTP1 + HTTP1_REPLIES))
def test_over_http1(fault: Fault) -> None:
    check(meet(fault, None, "auto"), fault)


@pytest.mark.parametrize("fault", HTTP1, ids=ids(HTTP1))
def test_over_http1_and_tls(fault: Fault, tls: Tls) -> None:
    also = [fault.or_over_tls] if fault.or_over_tls else []
    check(meet(fault, tls, "auto"), fault, *also)


@pytest.mark.parametrize("fault", HTTP2 + HTTP2_REPLIES, ids=ids(HTTP2 + HTTP2_REPLIES))
def test_over_http2(fault: Fault) -> None:
    check(meet(fault, None, "2"), fault)


@pytest.mark.parametrize("fault", HTTP2, ids=ids(HTTP2))
def test_over_http2_and_tls(fault: Fault, tls_http2: Tls) -> None:
    check(meet(fault, tls_http2, "auto"), fault)
