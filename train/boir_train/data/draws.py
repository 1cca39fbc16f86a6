"""The random numbers that augmentation and targets consume, as something a test can script."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Draws(Protocol):
    """A source of random numbers. The order in which they are asked for is part of SPEC-training T2.5 and T2.8."""

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both included."""
        ...


class SeededDraws:
    """Draws that depend on a few integers only, so a sample is the same whichever worker makes it."""

    def __init__(self, *seed: int) -> None:
        """Start from `seed`, for example (run seed, epoch, position in the epoch)."""
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        return float(self._generator.random())

    def integer(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both included."""
        return int(self._generator.integers(low, high, endpoint=True))
