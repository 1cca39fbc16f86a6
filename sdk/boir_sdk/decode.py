"""Maps to people and keypoints in plain numpy (SPEC-model M4.5, M4.7).

All arithmetic is float32. Means are sums in one fixed order, never running sums, so equal windows give equal floats and
a flat maximum stays flat: the local-maximum test compares floats for equality.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import ConfigError

STRIDE = 4
_CELL_CENTRE = np.float32(STRIDE / 2)
_QUARTER = np.float32(0.25)


def window_for(height: int, width: int) -> int:
    """Return the side of the local-maximum window for a map of this size: 3, 5 or 7 cells (M4.5)."""
    mean_side = (height + width) / 2
    if mean_side > 300:
        return 7
    if mean_side > 200:
        return 5
    return 3


def smooth(maps: NDArray[Any], kernel: int) -> NDArray[np.float32]:
    """Average each map with its own box mean; the mean counts the zero padding, so borders are damped.

    Args:
        maps: [..., H, W].
        kernel: side of the box in cells, odd.

    Raises:
        ConfigError: the kernel isn't odd and positive.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(f"expected an odd smoothing kernel of at least 1 cell, got {kernel!r}")
    maps = np.asarray(maps, dtype=np.float32)
    mean = _box_sum(_box_sum(maps, kernel, axis=-1), kernel, axis=-2)
    mean /= np.float32(kernel * kernel)
    mean += maps
    mean *= np.float32(0.5)
    return mean


def find_centres(
    prob: NDArray[Any], *, kernel: int, max_people: int = 30, threshold: float = 0.01
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find people in a centre map: local maxima of the smoothed map, the best first (M4.5).

    Every cell of a flat maximum is one. Equal scores come in ascending order of cell index.

    Args:
        prob: [H, W] centre probability, the mean over views, not yet smoothed.
        kernel: smoothing box in cells.
        max_people: at most so many are returned.
        threshold: a score must be greater, compared in float32.

    Returns:
        int64 [N, 2] cells as y, x, and their float32 [N] scores.
    """
    smoothed = smooth(prob, kernel)
    height, width = smoothed.shape
    peaks = smoothed == _window_max(smoothed, window_for(height, width))
    index = np.flatnonzero(peaks & (smoothed > np.float32(threshold)))
    score = smoothed.ravel()[index]
    best = np.argsort(-score, kind="stable")[:max_people]
    index = index[best]
    return np.stack([index // width, index % width], axis=1).astype(np.int64), score[best]


def keypoints(heat: NDArray[Any], *, kernel: int, offset: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Read each keypoint from its person's heatmap (M4.7).

    A cell i stands for network position 4 i + 2. Without `offset` the peak moves a quarter cell towards its larger
    neighbour, axis by axis, not at a border; with it the position is (cell + offset) * 4. Of equal peaks the lowest
    index wins.

    Args:
        heat: [N, K, H, W] probabilities, merged over views, not yet smoothed.
        kernel: smoothing box in cells.
        offset: [2K, H, W] in cells, rows y0, x0, y1, x1, ..., or None.

    Returns:
        float32 [N, K, 3]: network x, y and the smoothed peak (not multiplied by the instance score).
    """
    count, joints, _, width = heat.shape
    out = np.empty((count, joints, 3), dtype=np.float32)
    channel = np.arange(joints)
    for person in range(count):  # one person's maps stay in the cache, all 30 people's don't
        maps = smooth(heat[person], kernel)
        index = maps.reshape(joints, -1).argmax(axis=1)
        y, x = index // width, index % width
        if offset is None:
            out[person, :, 0] = (x + _shift(maps, y, x, axis=1)) * STRIDE + _CELL_CENTRE
            out[person, :, 1] = (y + _shift(maps, y, x, axis=0)) * STRIDE + _CELL_CENTRE
        else:
            out[person, :, 0] = (x + offset[2 * channel + 1, y, x].astype(np.float32)) * STRIDE
            out[person, :, 1] = (y + offset[2 * channel, y, x].astype(np.float32)) * STRIDE
        out[person, :, 2] = maps[channel, y, x]
    return out


def _shift(maps: NDArray[np.float32], y: NDArray[np.intp], x: NDArray[np.intp], *, axis: int) -> NDArray[np.float32]:
    """Return a quarter cell towards the larger neighbour along `axis` (0 is y), 0 at a border or between equals."""
    at, last = (y, maps.shape[1] - 1) if axis == 0 else (x, maps.shape[2] - 1)
    before, after = np.maximum(at - 1, 0), np.minimum(at + 1, last)
    channel = np.arange(len(maps))
    low, high = (
        (maps[channel, before, x], maps[channel, after, x])
        if axis == 0
        else (
            maps[channel, y, before],
            maps[channel, y, after],
        )
    )
    inside = (at > 0) & (at < last)
    return np.where(inside, _QUARTER * np.sign(high - low), np.float32(0))


def _box_sum(maps: NDArray[np.float32], kernel: int, *, axis: int) -> NDArray[np.float32]:
    """Sum `kernel` neighbours along one axis, zeros outside, always from the lowest index up."""
    length = maps.shape[axis]
    total = np.zeros_like(maps)
    out, source = np.moveaxis(total, axis, -1), np.moveaxis(maps, axis, -1)
    radius = kernel // 2
    for step in range(-min(radius, length - 1), min(radius, length - 1) + 1):
        out[..., max(0, -step) : length - max(0, step)] += source[..., max(0, step) : length - max(0, -step)]
    return total


def _window_max(values: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return the maximum of each cell's square neighbourhood; outside the map nothing competes."""
    result = values
    for axis in (0, 1):
        length = result.shape[axis]
        source = np.moveaxis(result, axis, -1)
        best = result.copy()
        out = np.moveaxis(best, axis, -1)
        for step in range(1, min(window // 2, length - 1) + 1):
            np.maximum(out[..., step:], source[..., :-step], out=out[..., step:])
            np.maximum(out[..., :-step], source[..., step:], out=out[..., :-step])
        result = best
    return result
