"""The rounds of interleaved lines: which blocks belong together, and the quantiles of those of two groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from donutwork_magics.analysis.counted import By, as_array, measured
from donutwork_magics.analysis.runs import runs
from donutwork_magics.analysis.signed_rank import MOST_PAIRS

NOT_INTERLEAVED: Final = "not interleaved"
_ELSEWHERE: Final = f"{NOT_INTERLEAVED}, and measured on different machines"
_ROUND: Final = ["place", "block"]

Numbers = npt.NDArray[np.float64]


class Rounds(NamedTuple):
    """The block quantiles of two groups in the rounds that both have; there are none where there is a reason for it."""

    baseline: Numbers
    """Shape (rounds,)."""
    other: Numbers
    """Shape (rounds,)."""
    pings: int
    """In these rounds, of the group that has fewer."""
    reason: str = ""


def with_places(rows: pd.DataFrame, by: By) -> pd.DataFrame:
    """Add the ``place`` of each row (a run at one vantage point), and whether its block is ``whole``.

    Blocks of one number at one place are a round. A block is whole where all of its pings are of one ``group``: blocks
    were measured in random order, and their pings were not.
    """
    rows = rows.assign(run=runs(rows), vantage=rows["vantage"].astype(object) if "vantage" in rows else None)
    # Machines that are compared with each other share their rounds.
    places = ["run"] if isinstance(by, str) and by == "vantage" else ["run", "vantage"]
    rows["place"] = rows.groupby(places, dropna=False).ngroup()
    in_block = rows.groupby([*_ROUND, "vantage", "label"], observed=True, dropna=False)["group"]
    rows["whole"] = in_block.transform("min") == in_block.transform("max")
    return rows


def rounds_of(rows: Mapping[int, pd.DataFrame], baseline: int, other: int, metric: str, quantile: float) -> Rounds:
    """Compute the block quantiles of two groups in the rounds that both have.

    The median is that of the textbooks, another quantile the nearest rank, which needs ``1 / (1 - quantile)`` pings.
    Where blocks have fewer, or there are more than `MOST_PAIRS`, rounds that follow each other are taken together:
    where groups do not differ, exchanging their blocks in several rounds at once changes nothing either.

    Parameters
    ----------
    rows
        By ``group``, as `with_places` returned them.
    baseline, other
        The two groups.
    """
    pair = pd.concat([rows[baseline], rows[other]])
    sizes = _by_round(pair, baseline, other).dropna()
    if not pair["whole"].all() or not sizes.groupby("place").size().gt(1).any():
        vantages = [set(pair.loc[pair["group"] == group, "vantage"].fillna("")) for group in (baseline, other)]
        return Rounds(np.empty(0), np.empty(0), 0, NOT_INTERLEAVED if set.intersection(*vantages) else _ELSEWHERE)
    last = ~sizes.index.get_level_values("place").duplicated(keep="last")
    # An interrupt cuts the last round short; else the sizes of blocks differ by one at most.
    sizes = sizes[~(last & (sizes < sizes[~last].min() - 1).any(axis=1))]
    values = measured(pair, metric)
    pair = pair.loc[values.index].assign(value=values)
    needed = math.ceil(round(1 / min(quantile, 1 - quantile), 9))
    counts = _by_round(pair, baseline, other).reindex(sizes.index).fillna(0)
    typical = float(np.median(counts, axis=0).min())
    together = max(math.ceil(len(sizes) / MOST_PAIRS), math.ceil(needed / max(typical, 1)))
    taken = pd.DataFrame({"round": sizes.groupby("place").cumcount() // together})
    pair = pair.join(taken.groupby(["place", "round"]).ngroup().rename("round"), on=_ROUND, how="inner")
    found = [_quantiles(pair[pair["group"] == group], quantile, needed) for group in (baseline, other)]
    both = pd.concat(found, axis=1, join="inner", keys=["baseline", "other"])
    pings = int(both.xs("pings", axis=1, level=1).to_numpy().sum(axis=0).min())
    return Rounds(as_array(both["baseline", "value"]), as_array(both["other", "value"]), pings)


def block_quantiles(
    blocks: npt.NDArray[np.int64], values: Numbers, quantile: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Numbers]:
    """Compute a quantile of each block.

    Parameters
    ----------
    blocks, values
        Shape (n,): of each value the block that it belongs to.

    Returns
    -------
    blocks, sizes, quantiles : ndarray
        Shape (blocks,), in their order.
    """
    order = np.lexsort((values, blocks))
    blocks, values = blocks[order], values[order]
    first = np.flatnonzero(np.diff(blocks, prepend=blocks[:1] - 1))
    sizes = np.diff(np.append(first, blocks.size))
    if quantile == 0.5:
        return blocks[first], sizes, (values[first + (sizes - 1) // 2] + values[first + sizes // 2]) / 2
    ranks = np.ceil(np.round(quantile * sizes, 9)).astype(np.int64)
    return blocks[first], sizes, values[first + ranks - 1]


def _by_round(pair: pd.DataFrame, baseline: int, other: int) -> pd.DataFrame:
    """Count the rows of two groups in each round."""
    return pair.groupby([*_ROUND, "group"]).size().unstack("group").reindex(columns=[baseline, other])


def _quantiles(rows: pd.DataFrame, quantile: float, needed: int) -> pd.DataFrame:
    rounds, sizes, values = block_quantiles(rows["round"].to_numpy(), as_array(rows["value"]), quantile)
    return pd.DataFrame({"pings": sizes, "value": values}, index=rounds)[sizes >= needed]
