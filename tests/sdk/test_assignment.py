from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boir_sdk.assignment import assign
from boir_sdk.errors import InputError

COSTS = st.one_of(st.floats(-2, 2), st.integers(-2, 2).map(float), st.just(np.inf))


def least_by_trying_all(cost: np.ndarray, limit: float) -> float:
    """The least sum of `cost - limit` over all ways to pair at most the shorter side."""
    tall = cost if cost.shape[0] >= cost.shape[1] else cost.T
    gain = np.minimum(tall - limit, 0)
    ways = itertools.permutations(range(tall.shape[0]), tall.shape[1])
    return min(sum(gain[row, column] for column, row in enumerate(way)) for way in ways)


@given(st.data())
def test_no_way_of_pairing_is_cheaper(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    cost = data.draw(hnp.arrays(np.float64, shape, elements=COSTS))
    limit = data.draw(st.sampled_from([-0.5, 0.0, 0.7, 3.0]))
    rows, columns = assign(cost, limit)
    assert rows.dtype == columns.dtype == np.int64 and len(rows) == len(columns)
    assert (np.diff(rows) > 0).all() and len(set(columns.tolist())) == len(columns)
    assert (cost[rows, columns] < limit).all()
    assert (cost[rows, columns] - limit).sum() == pytest.approx(least_by_trying_all(cost, limit), abs=1e-9)


@pytest.mark.parametrize("shape", [(30, 30), (30, 7), (4, 200), (300, 30)])
@pytest.mark.parametrize("kind", ["uniform", "gated", "equal", "tiny", "huge"])
def test_a_crowd_is_paired_as_scipy_pairs_it(shape: tuple[int, int], kind: str) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(sum(shape))
    for _ in range(5):
        cost = rng.random(shape)
        if kind == "gated":
            cost[rng.random(shape) < 0.9] = np.inf
        elif kind == "equal":
            cost = np.round(cost * 3) / 3
        scale = {"tiny": 1e-12, "huge": 1e12}.get(kind, 1.0)
        limit = 0.7 * scale
        cost = cost * scale
        gain = np.minimum(cost - limit, 0)
        rows, columns = assign(cost, limit)
        assert (cost[rows, columns] - limit).sum() == pytest.approx(
            gain[optimize.linear_sum_assignment(gain)].sum(), rel=1e-12
        )
        assert len(set(rows.tolist())) == len(rows) and len(set(columns.tolist())) == len(columns)


def test_a_cheap_pair_gives_way_where_the_whole_is_cheaper() -> None:
    rows, columns = assign(np.array([[0.1, 0.2], [0.2, 9.0]]), 1.0)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nobody_is_paired_with_nobody(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape), 1.0)
    assert rows.shape == columns.shape == (0,)


@pytest.mark.parametrize(
    ("cost", "limit", "says"),
    [
        (np.zeros(3), 1.0, r"expected \[N, M\]"),
        ([[np.nan]], 1.0, "NaN"),
        ([[-np.inf]], 1.0, "minus infinity"),
        ([[1.0]], np.inf, "finite"),
        ([[1.0]], np.nan, "finite"),
    ],
)
def test_what_is_no_cost_is_refused(cost: np.ndarray, limit: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        assign(np.asarray(cost), limit)
