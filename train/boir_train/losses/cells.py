"""Reading maps at given cells, in the precision that losses need.

A cell is (y, x) on the stride-4 map; people of all pictures stand in one list, `image_index` says which picture each
belongs to. Everything here is a gather: no loop over people or cells.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Count = Callable[[Tensor], Tensor]  # what a loss divides by, from this rank's share of it


def alone(count: Tensor) -> Tensor:
    """The `Count` of a rank that normalises by itself, as published (T3.3)."""
    return count


def full_precision(values: Tensor) -> Tensor:
    """Cast to float32, but leave float64 as it is: half-precision maps come out of autocast, proofs run in double."""
    return values if values.dtype == torch.float64 else values.float()


def image_index(counts: Tensor) -> Tensor:
    """Picture of every person, from the people per picture.

    Args:
        counts: int64 [B].

    Returns:
        int64 [N] with N = sum of counts, ascending.
    """
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def read(maps: Tensor, image: Tensor, yx: Tensor) -> Tensor:
    """Read all channels at one or several cells per person (T3.1).

    Args:
        maps: [B, C, H, W].
        image: int64 [N], picture of each person.
        yx: int64 [N, 2] or [N, M, 2], inside the map.

    Returns:
        [N, C] or [N, M, C], float32 or float64.
    """
    image = image.reshape(-1, *([1] * (yx.dim() - 2)))
    return full_precision(maps[image, :, yx[..., 0], yx[..., 1]])


def neighbourhood(centres: Tensor, reach: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The square of cells within `reach` of each centre, and which of them the map has.

    Args:
        centres: int64 [..., 2] (y, x), may lie outside the map.
        reach: cells to each side; M = (2 reach + 1)^2.
        height: H of the map.
        width: W of the map.

    Returns:
        yx int64 [..., M, 2], clipped to the map so that reading is always safe, and inside bool [..., M].
    """
    steps = torch.arange(-reach, reach + 1, device=centres.device)
    square = torch.cartesian_prod(steps, steps)  # [M, 2]
    yx = centres.unsqueeze(-2) + square
    last = torch.tensor([height - 1, width - 1], device=centres.device)
    inside = ((yx >= 0) & (yx <= last)).all(-1)
    return torch.minimum(yx.clamp(min=0), last), inside
