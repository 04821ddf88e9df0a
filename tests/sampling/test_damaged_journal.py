"""Given a journal that was changed on its way, loading it says so, or says what is missing."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from donutwork_magics import DonutworkError, collect, load
from donutwork_magics.measure import measure
from donutwork_magics.sampling.machine import ClientLoad
from donutwork_magics.sampling.plan import Plan
from donutwork_magics.sampling.series import Series
from tests.servers import Server, answer, read_request, reply
from tests.support.processes import until
from tests.support.recordings import running, target_of
from tests.support.tables import about, card_of

pytestmark = pytest.mark.slow

CLIENT = ClientLoad(0.4, 0.9, 0.1, 5.0, 0.9, 400).as_attrs()
DAMAGED = r"^Line (\d+) of the journal is damaged\. [^\n]*\.$"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def written(file: Path, count: int = 10, **options: Any) -> pd.DataFrame:
    with Server(answer(reply())) as server:
        return collect(count, rate_hz=500, target=target_of(server), journal=file, **options)


def lines_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def sealed(record: dict[str, Any]) -> bytes:
    """Write a line as another tool would that knows the format."""
    body = json.dumps({name: value for name, value in record.items() if name != "crc"}, separators=(",", ":"))[:-1]
    return f'{body},"crc":"{zlib.crc32(body.encode()):08x}"}}\n'.encode()


def damaged_line(file: Path) -> int:
    with pytest.raises(DonutworkError) as caught:
        load(file)
    found = re.match(DAMAGED, str(caught.value))
    assert found, str(caught.value)
    return int(found[1])


def outcome(file: Path, made: pd.DataFrame) -> int:
    """Return the number of the line that is called damaged; 0 where the journal is as it was."""
    try:
        loaded = load(file)
    except DonutworkError:
        return damaged_line(file)
    pd.testing.assert_frame_equal(loaded, made, check_exact=True)
    assert loaded.attrs == made.attrs
    return 0


def flips(content: bytes, chance: random.Random, count: int) -> list[tuple[int, int]]:
    """Choose bits: some of anywhere, and all of what is special: the line ends, the first and the last bytes."""
    ends = [place for place, byte in enumerate(content) if byte == 10]
    places = {*ends, *range(20), *range(len(content) - 20, len(content))}
    every = [(place, bit) for place in sorted(places) for bit in range(8)]
    return [*every, *((chance.randrange(len(content)), chance.randrange(8)) for _ in range(count))]


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def test_every_single_bit_that_was_flipped_is_found_in_its_line(file: Path) -> None:
    made = written(file)
    content = file.read_bytes()
    for place, bit in flips(content, random.Random(7), 400):
        file.write_bytes(flipped(content, place, bit))
        # A line end that is none any more makes one line of two, which has the number of the first.
        assert outcome(file, made) == content.count(b"\n", 0, place) + 1, (place, bit)


def test_a_flipped_bit_in_a_journal_that_was_torn_and_continued_costs_no_whole_row(file: Path) -> None:
    written(file)
    file.write_bytes(b"".join(lines_of(file)[:6])[:-30])
    written(file, 4)
    torn = file.read_bytes()
    file.write_bytes(torn[:-100])
    made, content = load(file), file.read_bytes()
    assert len(made) == 8
    ignored = [number for number, line in enumerate(lines_of(file), start=1) if not is_whole(line)]
    assert ignored == [6, 12]
    for place, bit in flips(content, random.Random(11), 150):
        file.write_bytes(flipped(content, place, bit))
        number = content.count(b"\n", 0, place) + 1
        # What was never a whole line may be changed, and is told from one that was whole.
        assert outcome(file, made) in ({number, 0} if number in ignored else {number, number - 1}), (place, bit)


def is_whole(line: bytes) -> bool:
    try:
        return line == sealed(json.loads(line))
    except ValueError:
        return False


def test_another_tool_can_check_a_journal(file: Path) -> None:
    written(file, label="é 🍩")
    for line in lines_of(file):
        body, _, checksum = line.rpartition(b',"crc":')
        assert json.loads(line)["crc"] == f"{zlib.crc32(body):08x}"
        assert checksum == b'"%08x"}\n' % zlib.crc32(body)


def test_a_last_line_that_lost_its_end_only_is_whole(file: Path) -> None:
    made = written(file)
    file.write_bytes(file.read_bytes()[:-1])
    assert outcome(file, made) == 0
    again = written(file, 3)
    assert load(file)["duration_ms"].tolist() == [*made["duration_ms"], *again["duration_ms"]]


@pytest.mark.parametrize(
    "change",
    [
        {"duration_ms": -1.0},
        {"duration_ms": -1e-9},
        {"duration_ms": "12"},
        {"duration_ms": None},
        {"duration_ms": 1e400},
        {"ttfb_ms": -0.5},
        {"dns_ms": -1},
        {"rrt_ms": -1},
        {"tcp_rtt_ms": -1},
        {"retry_after_s": -1},
        {"started_ms": -1},
        {"scheduled_ms": -1},
        {"error": "tiemout"},
        {"error": ""},
        {"error": 5},
        {"label": ""},
        {"label": "x" * 65},
        {"label": 1},
        {"env": "x" * 101},
        {"peer": "x" * 101},
        {"rrt": "x" * 101},
        {"http_version": "x" * 101},
        {"tls_version": "x" * 101},
        {"reused": 1},
        {"warmup": None},
        {"seq": -1},
        {"seq": 1.5},
        {"seq": 2**60},
        {"seq": 3},
        {"seq": 6},
        {"block": -1},
        {"timestamp_ns": -1},
        {"status_code": 2**15},
        {"body_bytes": -1},
    ],
)
def test_a_value_that_no_run_writes_is_named_by_its_line(file: Path, change: dict[str, Any]) -> None:
    written(file)
    lines = lines_of(file)
    assert json.loads(lines[5])["seq"] == 4
    lines[5] = sealed({**json.loads(lines[5]), **change}).replace(b"Infinity", b"1e400")
    file.write_bytes(b"".join(lines))
    # A number that is too high is found with the row after it.
    assert damaged_line(file) == 6 + (change == {"seq": 6})


@pytest.mark.parametrize(
    "change",
    [
        {"host": None},
        {"path": ["/ping.json"]},
        {"sandbox": ["yes"]},
        {"seed": "5"},
        {"versions": ["httpx"]},
        {"versions": {"httpx": 1}},
        {"platform": 1},
        {"ended": ["interrupted"]},
        {"unread": -1},
        {"journal_elsewhere": "1"},
        {"journal": {"missing": 1}},
        {"pauses": {"first": [[1.0]]}},
        {"client": [{"wake_p95_ms": []}]},
        {"client": [{**CLIENT, "notices": 1.5}]},
        {"client": [{**CLIENT, "notices": ["tired"]}]},
        {"plan": [{"count": 5, "label": ["a"]}]},
        {"plan": [{"count": 5, "host": []}]},
        {"plan": [{"count": 5, "key": {"a": 1}}]},
        {"plan": [{"count": 5, "endless": "no"}]},
        {"plan": [{"count": 5, "env": "moon"}]},
        {"plan": [{"count": 5, "expect": "p95<200ms"}]},
        {"plan": [{"count": 5, "concurrency": 0}]},
        {"plan": {}},
    ],
)
def test_a_description_that_no_run_writes_is_named_by_its_line(file: Path, change: dict[str, Any]) -> None:
    written(file)
    lines = lines_of(file)
    first = json.loads(lines[0])
    lines[0] = sealed({**first, "attrs": {**first["attrs"], **change}})
    file.write_bytes(b"".join(lines))
    assert damaged_line(file) == 1


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_row_that_is_there_twice_is_damage(file: Path, concurrency: int) -> None:
    written(file, 20, concurrency=concurrency)
    lines = lines_of(file)
    for place in (2, 10, 20):
        for later in (place + 1, 21):
            file.write_bytes(b"".join([*lines[:later], lines[place], *lines[later:]]))
            assert damaged_line(file) == later + 1


def test_rows_that_changed_places_are_damage_where_one_worker_wrote_them(file: Path) -> None:
    written(file)
    lines = lines_of(file)
    lines[4:6] = reversed(lines[4:6])
    file.write_bytes(b"".join(lines))
    assert damaged_line(file) == 6


def test_a_run_that_is_there_twice_is_damage(file: Path) -> None:
    written(file)
    file.write_bytes(file.read_bytes() * 2)
    assert damaged_line(file) == 14


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ([17], "1 row is missing from the journal (seq 17)."),
        ([17, 18, 19], "3 rows are missing from the journal (seq 17 to 19)."),
        ([3, 17, 18], "3 rows are missing from the journal (seq 3, 17 to 18)."),
        ([0, 1], "2 rows are missing from the journal."),
        ([38, 39], "2 rows are missing from the journal."),
        (range(3, 40, 4), "10 rows are missing from the journal."),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_rows_that_were_deleted_are_told(file: Path, concurrency: int, gone: list[int], says: str) -> None:
    made = written(file, 40, concurrency=concurrency)
    lines = lines_of(file)
    file.write_bytes(b"".join(line for line in lines if json.loads(line).get("seq") not in gone))
    df = load(file)
    expected = made[~made["seq"].isin(gone)].reset_index(drop=True)
    pd.testing.assert_frame_equal(df, expected, check_exact=True)
    assert says[:-2] in card_of(df)
    assert says[:-2] in df.donutwork._repr_mimebundle_()["text/html"]
    assert "as in a table that was filtered" not in card_of(df)
    assert about(df)["journal"]["missing"] == len(gone)
    assert "missing from the journal" in card_of(df[df["seq"] > 20])


def test_rows_that_were_deleted_from_several_runs_are_added_up(file: Path) -> None:
    for _ in range(2):
        written(file, 5)
    lines = lines_of(file)
    # The second run begins with line 8.
    file.write_bytes(b"".join([*lines[:3], *lines[4:10], *lines[12:]]))
    df = load(file)
    assert df["seq"].tolist() == [0, 1, 3, 4, 0, 1, 4]
    runs = df.attrs["donutwork"]["runs"].values()
    assert [run["journal"]["missing_seq"] for run in runs] == [[[2, 2]], [[2, 3]]]
    # Of two runs, a number alone does not say which row is meant.
    assert about(df)["journal"] == {"missing": 3, "missing_seq": [], "elsewhere": 0}
    assert "3 rows are missing from the journal." in card_of(df)


def interrupted(file: Path) -> pd.DataFrame:
    """End a run whose later pings complete, and an earlier one never does."""
    over, served = threading.Event(), [0]

    def stuck_at_5(connection: socket.socket) -> None:
        while read_request(connection):
            served[0] += 1
            if served[0] == 5:
                over.wait(20)
                return
            connection.sendall(reply())

    with Server(stuck_at_5) as server:
        plan = Plan(count=10**6, rate_hz=200, concurrency=3)
        with running(Series(plan, target_of(server), journal=file)) as run:
            until(lambda: served[0] >= 40)
        over.set()
    assert run.attrs["in_flight"]
    return load(file)


def killed(file: Path) -> pd.DataFrame:
    written(file)
    file.write_bytes(b"".join(lines_of(file)[:-2]))
    return load(file)


def two_files(file: Path) -> pd.DataFrame:
    """Let the lines of a run write to two files in turn, as those of a cell may."""
    other = file.with_suffix(".other")
    with Server(answer(reply())) as server:
        lines = [
            Series(Plan(count=3, rate_hz=None, label=label), target_of(server), journal=place)
            for label, place in (("a", file), ("b", other), ("c", file))
        ]
        measure(lines, keep=lambda _df: "nowhere")
    assert load(other)["seq"].tolist() == [3, 4, 5]
    assert "journal" not in about(load(other))
    df = load(file)
    assert df["seq"].tolist() == [0, 1, 2, 6, 7, 8]
    return df


@pytest.mark.parametrize("make", [interrupted, killed, two_files])
def test_rows_that_never_were_are_not_missing(file: Path, make: Callable[[Path], pd.DataFrame]) -> None:
    df = make(file)
    assert "missing from the journal" not in card_of(df)
    assert "journal" not in about(df)


def say_in_each_row(file: Path, column: str, text: str) -> None:
    lines = lines_of(file)
    file.write_bytes(
        b"".join(sealed(json.loads(line) | {column: text}) if b'"seq"' in line else line for line in lines)
    )


@pytest.mark.parametrize("column", ["label", "env", "http_version", "peer", "tls_version", "rrt"])
def test_the_texts_of_a_journal_that_another_tool_wrote_are_cleaned(column: str, file: Path) -> None:
    written(file, 2)
    say_in_each_row(file, column, "a\x1b[31m\u202eb\x9b")
    loaded = load(file)
    assert list(loaded[column]) == ["a[31mb"] * 2
    assert loaded.to_string().replace("\n", "").isprintable()
    assert loaded.donutwork._repr_mimebundle_()


@pytest.mark.parametrize("column", ["env", "peer", "rrt"])
def test_no_markup_of_a_journal_reaches_a_table(column: str, file: Path) -> None:
    written(file, 2)
    say_in_each_row(file, column, r"$\rule{9px}{9px}$ <b>&")
    assert list(load(file)[column]) == ["\ufffd\ufffdrule{9px}{9px}\ufffd \ufffdb\ufffd\ufffd"] * 2


def lines_apart(directory: Path, count: int = 20) -> tuple[pd.DataFrame, Path, Path]:
    """Run two lines of a cell, each with a journal of its own."""
    a, b = directory / "a.jsonl", directory / "b.jsonl"
    with Server(answer(reply())) as server:
        plans = [(Plan(count=count, rate_hz=500, label=file.stem), file) for file in (a, b)]
        lines = [Series(plan, target_of(server), journal=file) for plan, file in plans]
        made = measure(lines, keep=lambda _df: "nowhere")
    return made, a, b


def test_the_journals_of_two_lines_joined_in_one_file_lack_nothing(tmp_path: Path, file: Path) -> None:
    made, a, b = lines_apart(tmp_path)
    for parts in ((a, b), (b, a)):
        file.write_bytes(b"".join(part.read_bytes() for part in parts))
        df = load(file)
        pd.testing.assert_frame_equal(df, made, check_exact=True)
        assert "journal" not in about(df)
        assert "not in this file" not in card_of(df)
        assert "missing" not in card_of(df)


def test_of_joined_journals_one_that_was_truncated_is_told(tmp_path: Path, file: Path) -> None:
    _, a, b = lines_apart(tmp_path)
    beginning, *rows, end = lines_of(b)
    # What a run writes that goes on in a file that was truncated after its seventh row.
    later = sealed({**json.loads(beginning), "rows": 7})
    file.write_bytes(a.read_bytes() + b"".join([later, *rows[7:], end]))
    df = load(file)
    assert len(df) == 33
    assert about(df)["journal"] == {"missing": 0, "missing_seq": [], "elsewhere": 7}
    assert "7 rows of the run are not in this file" in card_of(df)


def test_a_journal_of_two_lines_whose_parts_have_one_label_each_lacks_nothing(file: Path) -> None:
    with Server(answer(reply())) as server:
        lines = [Series(Plan(count=20, rate_hz=500, label=label), target_of(server), journal=file) for label in "ab"]
        made = measure(lines, keep=lambda _df: "nowhere")
    beginning, *rows, end = lines_of(file)
    # The rows of b as a file has them in which the run went on.
    later = sealed({**json.loads(beginning), "rows": 20})
    file.write_bytes(b"".join([beginning, *rows[:20], later, *rows[20:], end]))
    df = load(file)
    pd.testing.assert_frame_equal(df, made, check_exact=True)
    assert "journal" not in about(df)
