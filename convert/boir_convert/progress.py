"""What a long job tells while it runs: steps by name, and bars for what can be counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


class Progress:
    """Steps and bars on stderr, or nothing."""

    def __init__(self, *, shown: bool) -> None:
        """Make one.

        Args:
            shown: tell, where stderr is a terminal (and nobody's log file).
        """
        self._off = None if shown else True  # tqdm's None: off unless stderr is a terminal

    def step(self, what: str) -> None:
        """Tell that a step of unknown length begins."""
        with tqdm(desc=what, bar_format="{desc} ...", disable=self._off):
            return

    def each(self, items: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
        """Give `items` on, and tell how far they are.

        Args:
            items: any iterable.
            what: the step's name.
            total: how many items there will be.
            unit: what one item is.
        """
        yield from tqdm(items, desc=what, total=total, unit=unit, disable=self._off)
