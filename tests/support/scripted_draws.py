"""Random numbers read from a list, so that a test decides every draw."""

from __future__ import annotations

from collections.abc import Iterable


class ScriptedDraws:
    """Gives out the numbers it was made with; running out, or leaving some, is visible to the test."""

    def __init__(self, uniforms: Iterable[float] = (), integers: Iterable[int] = ()) -> None:
        self.uniforms = list(uniforms)
        self.integers = list(integers)
        self.ranges: list[tuple[int, int]] = []

    def uniform(self) -> float:
        return self.uniforms.pop(0)

    def integer(self, low: int, high: int) -> int:
        self.ranges.append((low, high))
        value = self.integers.pop(0)
        assert low <= value <= high, f"{value} outside [{low}, {high}]"
        return value
