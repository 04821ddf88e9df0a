"""Given what a server answers, the series ends or goes on."""

from __future__ import annotations

import math

import pytest

from donutwork_magics.client.retry_after import retry_after_s
from donutwork_magics.client.sample import Sample
from donutwork_magics.errors import Kind
from donutwork_magics.network.caller import Exchange
from donutwork_magics.network.timing import Phases
from donutwork_magics.sampling.outages import HOPELESS_IN_A_ROW, LONGEST_PAUSE_S, StopRules, is_throttled

_SENT = Phases(0, 1, 2, 0.1, math.nan, math.nan)
_NOT_SENT = Phases(0, 1, math.nan, math.nan, math.nan, math.nan)


def sample(
    error: Kind | None = None, status_code: int | None = 200, wait_s: float | None = None, phases: Phases = _NOT_SENT
) -> Sample:
    exchange = Exchange(0, 0, 1.0, phases, True, False, "1.1", None, None, math.nan, None)
    return Sample(exchange, error, status_code=status_code, retry_after_s=wait_s)


THROTTLED = [("rate_limited", 429), ("server_error", 503)]


@pytest.mark.parametrize(("error", "status_code"), THROTTLED)
def test_a_longer_wait_than_two_minutes_ends_it(error: Kind, status_code: int) -> None:
    assert not StopRules().must_end(sample(error, status_code, LONGEST_PAUSE_S))
    assert StopRules().must_end(sample(error, status_code, LONGEST_PAUSE_S + 1))
    assert is_throttled(sample(error, status_code))


def test_another_failure_is_no_wish_for_rest() -> None:
    assert not any(is_throttled(each) for each in (sample(), sample("server_error", 500), sample("timeout", None)))


@pytest.mark.parametrize("error", ["unauthorized", "forbidden", "env_mismatch"])
def test_a_refusal_ends_it_at_once(error: Kind) -> None:
    assert StopRules().must_end(sample(error, 401))


@pytest.mark.parametrize("error", ["timeout", "connection_lost", "protocol", "schema", "server_error", "not_found"])
def test_other_failures_never_end_it(error: Kind) -> None:
    rules = StopRules()
    assert not any(rules.must_end(sample(error, None)) for _ in range(100))


def test_an_address_that_was_never_reached_ends_it_after_five_in_a_row_of_any_such_kind() -> None:
    rules = StopRules()
    kinds: list[Kind] = ["dns", "connect", "tls", "connect", "dns"]
    assert len(kinds) == HOPELESS_IN_A_ROW
    assert [rules.must_end(sample(kind, None)) for kind in kinds] == [False] * 4 + [True]


@pytest.mark.parametrize(
    "reached",
    [
        sample(),
        sample("server_error", 500),
        sample("not_found", 404),
        sample("timeout", None, phases=_SENT),
        sample("connection_lost", None, phases=_SENT),
    ],
    ids=lambda reached: str(reached.error),
)
def test_once_a_request_was_sent_an_outage_never_ends_it(reached: Sample) -> None:
    rules = StopRules()
    assert not any(rules.must_end(sample("connect", None)) for _ in range(4))
    assert not rules.must_end(reached)
    assert not any(rules.must_end(sample("connect", None)) for _ in range(100))
    assert not StopRules(reached=rules.reached).must_end(sample("dns", None))


@pytest.mark.parametrize("error", ["timeout", "connection_lost", "tls"])
def test_a_connection_on_which_nothing_could_be_sent_shows_no_address_to_be_right(error: Kind) -> None:
    rules = StopRules()
    rules.must_end(sample(error, None))
    assert not rules.reached


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("120", 120.0),
        *(
            (text, None)
            for text in ("inf", "nan", "-3", "1e9", "+1", "1.5", "", "0x10", "\u0663", "1_0", "soon", "9" * 11)
        ),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2001 00:00:00 CET", None),
        ("Mon, 99 Jan 2001 00:00:00 GMT", None),
        (None, None),
    ],
)
def test_a_wait_is_whole_seconds_or_a_date(header: str | None, wait_s: float | None) -> None:
    assert retry_after_s(header) == wait_s


def test_a_date_in_the_future_is_so_far_away() -> None:
    found_s = retry_after_s("Fri, 01 Jan 2100 00:00:00 GMT")
    assert found_s is not None
    assert found_s > 86_400
