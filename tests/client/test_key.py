"""A key shows itself to nobody, and what a server repeats of it is redacted before it is kept or shown."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import pickle
import re
import time
import unicodedata
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from donutwork_magics.client.key import REDACTED, SLICE, ApiKey, Unusable, keys_in, read_key

KEY = "dw_live_Kx81+mZq0/vTnR57yE=Q4"
PING = {"status": "success", "env": "staging", "RRT": "0.08 ms"}

ANY_KEY = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=64).filter(
    lambda key: key not in REDACTED
)


def visible(text: str) -> str:
    """Return what is seen of a text in visible ASCII."""
    return re.sub("[^\x21-\x7e]", "", unicodedata.normalize("NFKD", text))


# What Unicode takes for forms of each visible ASCII character (full width, bold, in circles), and what for none.
LOOKALIKES: dict[str, list[str]] = {chr(code): [] for code in range(0x21, 0x7F)}
UNSEEN: list[str] = []
for char in map(chr, [*range(0x21), *range(0x7F, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]):
    seen = visible(char)
    if not seen:
        UNSEEN.append(char)
    elif seen in LOOKALIKES:
        LOOKALIKES[seen].append(char)
HIDING = st.tuples(st.integers(0, 9), st.text(st.sampled_from(UNSEEN), max_size=3))


def redact(value: Any, key: str = KEY) -> Any:
    return ApiKey(key, "DONUTWORK_API_KEY").redact(value)


class TestRedaction:
    @pytest.mark.parametrize(
        "echo",
        [
            KEY,
            f"Bearer {KEY}",
            f"a{KEY}b{KEY}c",
            KEY.upper(),
            KEY.lower(),
            quote(KEY, safe=""),
            quote(KEY),
            re.sub("%..", lambda code: code[0].lower(), quote(KEY, safe="")),
            *(base64.b64encode(b"x" * offset + KEY.encode()).decode() for offset in range(3)),
            *(base64.urlsafe_b64encode(b"x" * offset + KEY.encode()).decode() for offset in range(3)),
            base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        ],
    )
    def test_the_key_and_its_encodings(self, echo: str) -> None:
        shown = redact(echo)
        assert REDACTED in shown
        assert not any(KEY[at : at + SLICE] in shown for at in range(len(KEY) - SLICE + 1))
        assert len(shown.replace(REDACTED, "")) < SLICE

    @pytest.mark.parametrize("at", range(len(KEY) - SLICE + 1))
    def test_every_slice_of_twelve_characters(self, at: int) -> None:
        assert redact(f"<{KEY[at : at + SLICE]}>") == f"<{REDACTED}>"

    def test_a_longer_slice_is_one_piece_and_what_stands_beside_it_is_kept(self) -> None:
        assert redact(f"before {KEY[3:20]} after") == f"before {REDACTED} after"

    def test_a_shorter_slice_is_kept(self) -> None:
        assert redact(KEY[: SLICE - 1]) == KEY[: SLICE - 1]

    def test_two_slices_side_by_side(self) -> None:
        assert redact(KEY[:SLICE] + KEY[:SLICE]) == REDACTED

    def test_it_is_found_in_names_lists_and_numbers_at_any_depth(self) -> None:
        digits = "73518462095713"
        value = {"a": [{f"x{digits}": [digits, int(digits), float(digits), 1, True, None]}]}
        assert redact(value, digits) == {"a": [{f"x{REDACTED}": [REDACTED] * 3 + [1, True, None]}]}

    def test_a_key_shorter_than_a_slice_is_found_as_a_whole(self) -> None:
        assert redact("my short1! key", "short1!x") == "my short1! key"
        assert redact("my short1!x key", "short1!x") == f"my {REDACTED} key"
        assert "c2hvcnQxIX" not in redact(base64.b64encode(b"short1!x").decode(), "short1!x")

    @pytest.mark.parametrize("key", [KEY, "donutwork_live_4f9aZ7Qp21xW", "12345678", "staging-key"])
    def test_what_the_documentation_shows_is_left_alone(self, key: str) -> None:
        connection = {
            "client": {"userAgent": "donutwork_magics/0.1.0 Python/3.12.4", "ips": {"ipv4": "192.168.1.1"}},
            "endpoint": {"apiVersion": "2026-02-01", "env": "production", "protocol": "HTTP3"},
        }
        assert redact(PING, key) == PING
        assert redact(connection, key) == connection

    @given(ANY_KEY, st.text(st.characters(exclude_categories=("C", "Z")), max_size=7))
    def test_whatever_the_key_it_is_gone_and_the_rest_is_kept(self, key: str, rest: str) -> None:
        for form in (key, quote(key, safe=""), base64.b64encode(key.encode()).decode()[: 8 * len(key) // 6]):
            shown = redact(f"\u6e2c{form}\u5b9a", key)
            assert form not in shown
            assert shown.startswith("\u6e2c")
            assert shown.endswith("\u5b9a")
        assert redact(rest, key) == rest

    @given(ANY_KEY, st.integers(1, 64))
    @example('0000000"', 1)
    @example('"0000000', 8)
    @example('0000"0000', 4)
    def test_json_stays_json_wherever_an_echo_ends(self, key: str, end: int) -> None:
        # Such a key may have the very commas and brackets of a document in it.
        assume(not re.search(r'"[\]},:]|[\[{,:]"', key))
        document = json.dumps({"a": f"before {key[:end]}", key: [key[:-1], {"b": key}], "n": 5})
        redacted = ApiKey(key, "DONUTWORK_API_KEY").redact_document(document)
        assert json.loads(redacted)["n"] == 5
        assert key not in redacted
        assert json.dumps(key)[1:-1] not in redacted

    @given(ANY_KEY, st.lists(HIDING, min_size=1, max_size=64))
    def test_nothing_between_its_characters_hides_it(self, key: str, hiding: list[tuple[int, str]]) -> None:
        echo = ""
        for char, (choice, between) in zip(key, itertools.cycle(hiding), strict=False):
            forms = [char, *LOOKALIKES[char]]
            echo += forms[choice % len(forms)] + between
        shown = redact({echo: [f"\u6e2c {echo} \u5b9a"]}, key)
        [(name, [text])] = shown.items()
        assert text.startswith(f"\u6e2c {REDACTED}")
        assert text.isprintable()
        for seen in map(visible, (name, text)):
            assert not any(key[at : at + SLICE] in seen for at in range(max(1, len(key) - SLICE + 1)))

    @pytest.mark.parametrize(
        "code", sorted({0xAD, 0x34F, 0x200B, 0xFE0F, 0xE0100, 0xE000, 0x202E, 0x1B, 0x9B, 0, 0x3164})
    )
    def test_a_character_that_is_not_seen_hides_no_slice(self, code: int) -> None:
        assert redact(chr(code).join(KEY[3 : 3 + SLICE])) == REDACTED

    def test_base64_in_lines_is_found(self) -> None:
        shown = redact(base64.encodebytes(f"user:{KEY}".encode() * 3).decode())
        assert len(shown.replace(REDACTED, "")) < 2 * SLICE

    @pytest.mark.parametrize("times", [2, 3, 30])
    def test_url_encoded_several_times(self, times: int) -> None:
        text = KEY
        for _ in range(times):
            text = quote(text, safe="")
        shown = redact(f"/?a=1&key={text}&b=2")
        assert shown.startswith(f"/?a=1&key={REDACTED}")
        for _ in range(times):
            shown = unquote(shown)
        assert not any(KEY[at : at + SLICE] in shown for at in range(len(KEY) - SLICE + 1))
        assert redact("%" + "25" * 100_000) == "%" + "25" * 100_000

    def test_it_costs_a_ping_next_to_nothing(self) -> None:
        key = ApiKey(KEY, "DONUTWORK_API_KEY")
        key.redact(PING)
        costs_ns = []
        for _ in range(200):
            began_ns = time.perf_counter_ns()
            key.redact(PING)
            costs_ns.append(time.perf_counter_ns() - began_ns)
        # A ping takes 200 µs at the very least; this is 3 µs, and the best of many on a machine with other work.
        assert min(costs_ns) < 20_000


class TestSecrecy:
    def test_no_display_and_no_attribute_shows_it(self) -> None:
        key = ApiKey(KEY, "DONUTWORK_API_KEY")
        key.redact(KEY)
        shown = [repr(key), str(key), f"{key}", *(repr(getattr(key, name)) for name in ApiKey.__slots__)]
        assert not hasattr(key, "__dict__")
        assert not [text for text in shown if KEY[:SLICE] in text]

    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
    def test_it_is_not_copied_or_serialised(self, duplicate: Any) -> None:
        with pytest.raises(TypeError) as caught:
            duplicate(ApiKey(KEY, "DONUTWORK_API_KEY"))
        assert KEY[:SLICE] not in str(caught.value)

    @pytest.mark.parametrize(
        "value", [f"{KEY}\n{KEY}", f"{KEY} {KEY}", KEY + "\u00e4", KEY + "\x00", KEY * 20, KEY[:7]]
    )
    def test_a_malformed_one_is_refused_without_echo(self, value: str) -> None:
        refused = read_key({"DONUTWORK_API_KEY": value}, "DONUTWORK_API_KEY")
        assert isinstance(refused, Unusable)
        assert KEY[:7] not in refused.why
        assert "\n" not in refused.why

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (f'"{KEY}"', "has quotes around the key: set it to the key alone"),
            (f" '{KEY}'\n", "has quotes around the key"),
            (f"\N{LEFT DOUBLE QUOTATION MARK}{KEY}\N{RIGHT DOUBLE QUOTATION MARK}", "has quotes around the key"),
            (f"Bearer {KEY}", "begins with Bearer: set it to the key alone"),
            (f"bearer:{KEY}", "begins with Bearer"),
            (f"Authorization: Bearer {KEY}", "begins with Bearer"),
            (f'"Bearer {KEY}"', "begins with Bearer"),
        ],
    )
    def test_what_often_stands_around_a_key_has_a_hint_of_its_own(self, value: str, says: str) -> None:
        refused = read_key({"DONUTWORK_API_KEY": value}, "DONUTWORK_API_KEY")
        assert isinstance(refused, Unusable)
        assert refused.why.startswith(f"DONUTWORK_API_KEY {says}")
        assert KEY[:7] not in refused.why
        assert keys_in({"DONUTWORK_API_KEY": value}) == (KEY,)

    def test_a_text_too_short_to_be_one_is_none(self) -> None:
        assert keys_in({"DONUTWORK_API_KEY": "ping", "DONUTWORK_STAGING_API_KEY": ""}) == ()

    @pytest.mark.parametrize("key", ['"12345678', "bearer_4f9aZ7Qp", "'1234567\"8"])
    def test_a_quote_or_the_word_within_a_key_is_part_of_it(self, key: str) -> None:
        found = read_key({"DONUTWORK_API_KEY": key}, "DONUTWORK_API_KEY")
        assert isinstance(found, ApiKey)
        assert found.authorization() == b"Bearer " + key.encode()
