"""Numbers and foreign texts as people read them."""

from __future__ import annotations

import math

import pytest

from donutwork_magics.display.units import (
    clean,
    enumerate_some,
    format_difference_ms,
    format_ms,
    format_rate,
    format_s,
    format_share,
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
    [(0, "0 %"), (1, "100 %"), (0.0004, "<0.1 %"), (0.93, "93.0 %"), (math.nan, "–")],
)
def test_a_share_is_a_percentage(share: float, text: str) -> None:
    assert format_share(share) == text


def test_rates_and_longer_times() -> None:
    assert (format_rate(5.0), format_rate(math.nan)) == ("5.00/s", "–")
    assert (format_s(0.2), format_s(59.5), format_s(61)) == ("1 s", "1 min 0 s", "1 min 1 s")


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


def test_a_long_list_is_counted() -> None:
    assert enumerate_some(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert enumerate_some(["a", "b"], most=2) == "a, b"
