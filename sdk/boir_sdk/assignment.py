"""Exact one-to-one assignment: who of some rows goes with whom of some columns so that the whole costs least."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import InputError


def assign(cost: NDArray[Any], limit: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns, each at most once, so that the sum of `cost - limit` over the pairs is least.

    A pair that costs `limit` or more is never made: leaving both alone is no worse. So the limit is a gate and the
    price of staying alone in one, and a cheap pair is given up where that makes the whole cheaper.

    Args:
        cost: [N, M] numbers; infinity forbids a pair.
        limit: what a pair must cost less than.

    Returns:
        int64 [P] rows, rising, and int64 [P] their columns.

    Raises:
        InputError: `cost` isn't a matrix or holds NaN or minus infinity, or `limit` isn't finite.
    """
    matrix = np.asarray(cost, dtype=np.float64)
    if matrix.ndim != 2:
        raise InputError(f"cost: expected [N, M], got {matrix.ndim} dimensions")
    if not np.isfinite(limit):
        raise InputError(f"limit: expected a finite number, got {limit}")
    if not (matrix > -np.inf).all():  # False for NaN too
        raise InputError("cost: expected numbers or infinity, got NaN or minus infinity")
    gain = np.minimum(matrix - limit, 0.0)
    if gain.shape[0] <= gain.shape[1]:
        rows, columns = np.arange(gain.shape[0]), _columns_of_rows(gain)
    else:
        columns, rows = np.arange(gain.shape[1]), _columns_of_rows(gain.T)
    paired = gain[rows, columns] < 0
    rows, columns = rows[paired], columns[paired]
    order = np.argsort(rows)
    return rows[order].astype(np.int64), columns[order].astype(np.int64)


def _columns_of_rows(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each of N rows its own of M >= N columns at the least sum; returns int64 [N].

    Shortest augmenting paths in the manner of Jonker and Volgenant (Computing 38, 1987): rows come in one at a time, a
    new one takes the cheapest way to a free column over columns whose rows give way, and prices on rows and columns
    keep all costs along such ways at or above zero, so that Dijkstra's rule finds it. O(N^2 M).
    """
    count, width = cost.shape
    row_price, column_price = np.zeros(count), np.zeros(width)
    column_of, row_of = np.full(count, -1, dtype=np.int64), np.full(width, -1, dtype=np.int64)
    for newcomer in range(count):
        length = np.full(width, np.inf)  # of the cheapest way to each column
        came_from = np.full(width, -1, dtype=np.int64)
        is_open = np.ones(width, dtype=bool)
        row, reached = newcomer, 0.0
        while True:
            ways = reached + cost[row] - row_price[row] - column_price
            shorter = is_open & (ways < length)
            length[shorter], came_from[shorter] = ways[shorter], row
            column = int(np.where(is_open, length, np.inf).argmin())
            reached = length[column]
            if row_of[column] < 0:
                break
            is_open[column] = False
            row = int(row_of[column])
        row_price[newcomer] += reached
        passed = ~is_open
        row_price[row_of[passed]] += reached - length[passed]
        column_price[passed] -= reached - length[passed]
        while True:  # back along the way: each row takes the column that the way went on to
            row = int(came_from[column])
            row_of[column] = row
            column_of[row], column = column, int(column_of[row])
            if row == newcomer:
                break
    return column_of
