"""Numbers and foreign texts as people read them."""

from __future__ import annotations

import io
import math

import pytest

from donutwork_magics.units import (
    clean,
    enumerate_some,
    format_difference_ms,
    format_ms,
    format_rate,
    format_s,
    format_share,
    format_tick_ms,
    format_tick_s,
    printable,
    short_name,
    shorten,
    width,
)


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [
        (0.0, "0 ms"),
        (0.00008, "80.0 ns"),
        (0.053, "53.0 µs"),
        (0.9996, "1.00 ms"),
        (1.42, "1.42 ms"),
        (9.996, "10.0 ms"),
        (12.345, "12.3 ms"),
        (99.96, "100 ms"),
        (999.4, "999 ms"),
        (999.7, "1.00 s"),
        (123456.0, "123 s"),
        (-1.42, "−1.42 ms"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_a_time_has_three_digits_and_the_unit_of_its_size(value_ms: float, text: str) -> None:
    assert format_ms(value_ms) == text


def test_a_difference_has_its_sign() -> None:
    assert [format_difference_ms(value) for value in (1.0, 0.0, -1.0)] == ["+1.00 ms", "0 ms", "−1.00 ms"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "<0.1 %"),
        (0.93, "93.0 %"),
        (0.999, "99.9 %"),
        (0.9996, ">99.9 %"),
        (math.nan, "–"),
    ],
)
def test_a_share_is_a_percentage(share: float, text: str) -> None:
    assert format_share(share) == text


@pytest.mark.parametrize(
    ("rate_hz", "text"),
    [
        (0.0, "0.00/s"),
        (1 / 86_400 / 3, "1 every 3 d"),
        (1 / 300, "1 every 5 min"),
        (1 / 60.2, "1 every 1 min"),
        (0.0999, "1 every 10 s"),
        (0.1, "0.100/s"),
        (0.4167, "0.417/s"),
        (0.9996, "1.00/s"),
        (5.0, "5.00/s"),
        (1234.5, "1234/s"),
        (math.nan, "–"),
    ],
)
def test_a_rate_has_three_digits_and_a_slow_one_is_a_period(rate_hz: float, text: str) -> None:
    assert format_rate(rate_hz) == text


def test_longer_times_are_whole_seconds_or_minutes() -> None:
    assert [format_s(seconds) for seconds in (0.2, 59.5, 61, 3599.5, 9000)] == [
        *("1 s", "1 min 0 s", "1 min 1 s", "1 h 0 min", "2 h 30 min"),
    ]


@pytest.mark.parametrize(
    ("value_ms", "text"), [(0.0, "0"), (0.0005, "500 ns"), (20.0, "20 ms"), (1000.0, "1 s"), (2e6, "2000 s")]
)
def test_a_tick_of_an_axis_is_a_number_without_an_exponent(value_ms: float, text: str) -> None:
    assert format_tick_ms(value_ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.2, "200 ms"),
        (-30, "−30 s"),
        (59.999, "1 min"),
        (90, "1.5 min"),
        (86_400, "24 h"),
        (4.3e6, "49.8 d"),
    ],
)
def test_a_tick_of_time_has_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_tick_s(seconds) == text


@pytest.mark.parametrize(
    ("foreign", "safe"),
    [("a\r\nb\tc", "a b c"), ("\x1b[31mred", "[31mred"), ("\u202eevil", "evil"), ("日本", "日本"), ("\ud800", "")],
)
def test_a_foreign_text_is_one_line_without_controls(foreign: str, safe: str) -> None:
    assert clean(foreign) == safe


def test_an_endless_text_is_cut() -> None:
    assert len(clean("x" * 10_000)) == 400


def test_a_wide_character_takes_two_columns_and_an_accent_none() -> None:
    assert (width("日本"), width("e\u0301")) == (4, 1)
    assert shorten("日本語", 5) == "日本…"
    assert shorten("日本語", 6) == "日本語"


def test_of_a_long_label_beginning_and_end_are_kept() -> None:
    http1, http2 = (short_name(f"ping -n 300 --cold --http {version}") for version in ("1.1", "2"))
    assert (http1, http2) == ("ping -n 300 … --http 1.1", "ping -n 300 …ld --http 2")
    assert short_name("x" * 24) == "x" * 24
    assert width(short_name("測" * 30)) <= 24


def test_a_long_list_is_counted() -> None:
    assert enumerate_some(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert enumerate_some(["a", "b"], most=2) == "a, b"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        (None, "✓ Δ −15.7 µs ± 2 % ≥ 3 ▁█ é 測…"),
        ("utf-8", "✓ Δ −15.7 µs ± 2 % ≥ 3 ▁█ é 測…"),
        ("cp1252", "+ d -15.7 µs ± 2 % >= 3 .# é ?…"),
        ("ascii", "+ d -15.7 us +- 2 % >= 3 .# ? ?..."),
    ],
)
def test_an_old_code_page_loses_no_sign_and_no_unit(encoding: str | None, shown: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding) if encoding else io.StringIO()
    assert printable("✓ Δ −15.7 µs ± 2 % ≥ 3 ▁█ é 測…", stream) == shown
