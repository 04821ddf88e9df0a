"""Given a series, the DataFrame is schema 1."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from donutwork_magics import Client, DonutworkError, SeriesError, collect, summary
from donutwork_magics.client.settings import Target, sandbox_target
from donutwork_magics.errors import AnalysisError
from donutwork_magics.frame.schema import COLUMNS, restored
from tests.display.frames import frame
from tests.servers import Server, answer, reply
from tests.support.tables import about

KEY = "dw_test_Kx81mZq0vTnR57yE"


def target_of(server: Server) -> Target:
    return sandbox_target(server.url, KEY, None)


def test_the_columns_their_order_and_their_dtypes() -> None:
    with Server(answer(reply())) as server:
        df = collect(5, rate_hz=100, target=target_of(server))
    assert {name: str(dtype) for name, dtype in df.dtypes.items()} == COLUMNS
    assert list(df.columns) == list(COLUMNS)
    assert df["seq"].tolist() == [0, 1, 2, 3, 4]
    assert df["error"].isna().all()
    assert (df["rrt"] == "0.08 ms").all()
    assert (df["network_ms"] - (df["ttfb_ms"] - 0.08)).abs().max() < 1e-9
    assert (df["corrected_ms"] - df["lag_ms"] - df["duration_ms"]).abs().max() < 1e-6


def test_it_has_the_same_dtypes_without_a_single_success() -> None:
    with Server(answer(reply(b"", "500 Internal Server Error"))) as server:
        df = collect(3, rate_hz=None, target=target_of(server))
    assert {name: str(dtype) for name, dtype in df.dtypes.items()} == COLUMNS
    assert df["rrt"].isna().all()
    assert df["scheduled_ms"].isna().all()
    assert (df["status_code"] == 500).all()


def test_attrs_are_small_plain_and_without_the_key() -> None:
    with Server(answer(reply())) as server:
        df = collect(2, rate_hz=100, target=target_of(server))
    attrs = df.attrs["donutwork"]
    assert attrs["schema"] == 1
    assert list(attrs["runs"]) == df["run"].unique().tolist()
    assert about(df)["path"] == "/2026-02-01/ping.json"
    assert KEY.encode() not in pickle.dumps(df)
    assert json.loads(json.dumps(df.attrs)) == df.attrs
    assert len(json.dumps(df.attrs)) < 3000
    assert pickle.loads(pickle.dumps(df)).attrs == df.attrs


def test_it_comes_back_from_parquet_with_its_attrs_and_its_card(tmp_path: Path) -> None:
    with Server(answer(reply())) as server:
        df = collect(5, rate_hz=100, warmup=1, target=target_of(server))
    df.to_parquet(tmp_path / "df.parquet")
    back = pd.read_parquet(tmp_path / "df.parquet")
    assert {name: str(dtype) for name, dtype in back.dtypes.items()} == COLUMNS
    pd.testing.assert_frame_equal(back, df, check_exact=True)
    assert back.attrs == df.attrs
    assert repr(back.donutwork) == repr(df.donutwork)


def test_frames_of_two_runs_concatenate_and_both_are_still_known() -> None:
    with Server(answer(reply())) as server:
        dfs = [collect(2, rate_hz=100, label=label, target=target_of(server)) for label in ("a", "b")]
    both = pd.concat(dfs)
    assert both.dtypes.astype(str).to_dict() == COLUMNS
    assert both["run"].unique().tolist() == sorted(both["run"].unique())
    assert both["run"].nunique() == 2
    assert both["error"].fillna("none").tolist() == ["none"] * 4
    assert both["label"].value_counts().to_dict() == {"a": 2, "b": 2}
    # pandas drops attributes that differ.
    assert both.attrs == {}
    assert [plan["label"] for plan in about(both)["plan"]] == ["a", "b"]
    assert "4 pings, no errors" in repr(both.donutwork)


def test_a_table_is_restored_beside_the_one_that_was_given() -> None:
    given = frame([1.0, math.inf, 3.0]).astype({"ttfb_ms": "float32", "error": object, "seq": "int32"})
    given = given.set_axis([5, 5, 6])
    before = given.copy()
    found = restored(given)
    pd.testing.assert_frame_equal(given, before, check_exact=True)
    assert found.attrs == given.attrs
    assert found.index.tolist() == [0, 1, 2]
    assert found["duration_ms"].tolist()[::2] == [1.0, 3.0]
    assert found["duration_ms"].isna().tolist() == [False, True, False]
    assert found.dtypes.astype(str).to_dict() == COLUMNS


def as_text(**options: Any) -> pd.DataFrame:
    """A table as it comes back from a file of text, with options of `pandas.read_csv`."""
    table: pd.DataFrame = pd.read_csv(StringIO(TABLE.to_csv(index=False)), **options)
    return table


TABLE: Final = frame([1.5, 2.5, 3.5, 4.5], errors={3: "connect"}).assign(
    warmup=[True, False, False, False], reused=[False, True, True, False]
)


@pytest.mark.parametrize(
    "made",
    [
        as_text,
        lambda: as_text(dtype=str),
        lambda: as_text(keep_default_na=False),
        lambda: as_text(dtype=object, true_values=["no"]),
        lambda: as_text(dtype="category"),
        lambda: TABLE.assign(reused=["FALSE", "TRUE", "TRUE", "FALSE"], warmup=["true", "false", "false", "false"]),
        lambda: TABLE.assign(reused=[0, 1, 1, 0], warmup=[1.0, 0.0, 0.0, 0.0], retried=["0"] * 4),
        lambda: TABLE.astype({"reused": "boolean", "retried": object, "warmup": "boolean"}),
        lambda: TABLE.astype({"seq": "float64", "block": str, "status_code": "float64", "body_bytes": str}),
    ],
)
def test_a_table_of_text_is_restored(made: Callable[[], pd.DataFrame]) -> None:
    given = made()
    pd.testing.assert_frame_equal(restored(given), restored(TABLE))
    pd.testing.assert_frame_equal(summary(given), summary(TABLE))


def test_no_success_of_a_table_of_text_becomes_an_error() -> None:
    given = as_text(dtype="string", keep_default_na=False)
    pd.testing.assert_frame_equal(summary(given), summary(TABLE))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("reused", ["VERO", "FALSO", "VERO", "FALSO"]),
        ("retried", [True, False, None, False]),
        ("warmup", [0, 1, 2, 0]),
        ("warmup", [0.5, 0.0, 0.0, 0.0]),
        ("duration_ms", ["1,5", "2,5", "3,5", "4,5"]),
        ("lag_ms", [object()] * 4),
        ("seq", ["0", "1", "2", "third"]),
        ("block", [0.5, 0.0, 0.0, 0.0]),
        ("status_code", [10**6] * 4),
        ("timestamp", ["yesterday"] * 4),
    ],
)
def test_a_column_that_cannot_be_restored_is_named(column: str, values: list[Any]) -> None:
    with pytest.raises(AnalysisError, match=rf"^The column {column} of this DataFrame [^\n]*$") as caught:
        summary(TABLE.assign(**{column: values}))
    assert caught.value.__context__ is None


def test_a_slice_is_told_of_its_own_runs_only() -> None:
    with Server(answer(reply())) as server:
        both = pd.concat([collect(2, rate_hz=100, label=label, target=target_of(server)) for label in ("a", "b")])
    assert [plan["label"] for plan in about(both[both["label"] == "b"])["plan"]] == ["b"]


def test_a_series_that_must_end_raises_with_its_rows() -> None:
    with Server(answer(reply(b"{}", "403 Forbidden"))) as server, pytest.raises(SeriesError) as caught:
        collect(9, rate_hz=100, target=target_of(server))
    assert caught.value.kind == "forbidden"
    assert len(caught.value.df) == 1
    assert str(caught.value).startswith("The series ended early: 1 row is kept in the df of this error. ")


def test_a_series_whose_last_planned_ping_would_have_ended_it_was_not_cut() -> None:
    with Server(answer(reply(b"{}", "403 Forbidden"))) as server, pytest.raises(SeriesError) as caught:
        collect(1, rate_hz=100, target=target_of(server))
    assert str(caught.value).startswith("The series failed: 1 row is kept in the df of this error. ")
    assert repr(caught.value.df.donutwork).startswith("✗ Pings: the planned ping failed [sandbox]")


def test_a_call_that_fails_raises_with_its_kind() -> None:
    with Server(answer(reply(b"", "404 Not Found"))) as server, Client(target_of(server)) as client:
        with pytest.raises(DonutworkError) as caught:
            client.ping()
        assert caught.value.kind == "not_found"
        assert KEY not in repr(client.target)
        with pytest.raises(TypeError):
            pickle.dumps(client.target)


def test_no_markup_of_a_server_is_in_it_as_its_style_escapes_nothing() -> None:
    body = rb'{"status": "success", "env": "<img src=x onerror=f()>", "RRT": "&lt;1 $x$ \\rule"}'
    with Server(answer(reply(body))) as server:
        df = collect(1, rate_hz=None, target=sandbox_target(server.url, KEY, None))
    assert list(df.env) == ["\ufffdimg src=x onerror=f()\ufffd"]
    assert list(df.rrt) == ["\ufffdlt;1 \ufffdx\ufffd \ufffdrule"]
