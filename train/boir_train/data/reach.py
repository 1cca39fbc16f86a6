"""Which people a picture teaches: those whose size on the network's input is one they are looked for at.

A model that looks at a picture in two sizes (`boir_sdk.looks`) has each look answer for its own sizes of people. What
the other look answers for is neither taught nor punished in this one (scale normalisation, Singh and Davis, CVPR 2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from boir_train.data.augment import STRIDE


def within(corners: NDArray[np.float64], reach: tuple[float, ...]) -> NDArray[np.bool_]:
    """Tell who is taught.

    Args:
        corners: [P, 4, 2] box corners in cells, of the whole box: a person who is cut off by the picture's edge has the
            size that the rest of him lets one expect.
        reach: smallest and largest longer side of the box, in network pixels; empty takes everybody.

    Returns:
        [P].
    """
    if not reach:
        return np.ones(len(corners), np.bool_)
    longer = STRIDE * (corners.max(axis=1) - corners.min(axis=1)).max(axis=1, initial=0)
    return np.asarray((longer >= reach[0]) & (longer <= reach[1]))


def judged(valid: NDArray[np.bool_], corners: NDArray[np.float64], taught: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells [R, R] that heatmaps are judged in: not in the boxes of the others, unless the taught are there.

    Args:
        valid: [R, R], what may be judged at all.
        corners: [P, 4, 2] in cells.
        taught: [P], see `within`.
    """
    side_y, side_x = valid.shape
    allowed = np.ones_like(valid)
    for wanted in (False, True):
        for person in corners[taught == wanted]:
            low, high = np.floor(person.min(axis=0)), np.ceil(person.max(axis=0)) + 1
            left, right = (int(np.clip(end, 0, side_x)) for end in (low[0], high[0]))
            top, bottom = (int(np.clip(end, 0, side_y)) for end in (low[1], high[1]))
            allowed[top:bottom, left:right] = wanted
    return valid & allowed
