"""Learning rate as a function of the iteration alone, so resuming needs no state (SPEC-training T3.4)."""

from __future__ import annotations

import math


def learning_rate(
    iteration: int,
    *,
    base: float,
    final: float,
    epochs: int,
    iterations_per_epoch: int,
    warmup_epochs: int,
    warmup_start: float = 1e-12,
) -> float:
    """Linear warm-up, then half a cosine; to be set before the iteration's forward pass.

    The base rate is used twice, at the last warm-up iteration and at the one after; the final rate is approached and
    not reached. A warm-up of a single iteration uses its start.

    Args:
        iteration: counted from 0 over the whole training.
        base: the highest rate.
        final: the rate the cosine ends at, iteration `epochs * iterations_per_epoch`; kept beyond it.
        epochs: all epochs, the warm-up's included.
        iterations_per_epoch: optimiser steps per epoch on one rank.
        warmup_epochs: epochs of the linear part; 0 for none.
        warmup_start: rate of iteration 0 when there is a warm-up.
    """
    total = epochs * iterations_per_epoch
    warmup = warmup_epochs * iterations_per_epoch
    if iteration < warmup:
        return warmup_start + (base - warmup_start) * (iteration / max(warmup - 1, 1))
    if iteration >= total:
        return final
    return final + (base - final) / 2 * (1 + math.cos(math.pi * (iteration - warmup) / (total - warmup)))
