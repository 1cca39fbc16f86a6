"""A folder, a list or any other iterable of pictures as a source."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from boir_sdk import image as images
from boir_sdk.errors import InputError
from boir_sdk.stream.failure import SourceError
from boir_sdk.stream.redact import redact
from boir_sdk.stream.source import Frame

PICTURES_PER_SECOND = 30.0
"""Pictures without a time of their own are taken for frames of a video of this rate."""


class Pictures:
    """Pictures one after another, read as they are needed; none is left out and none is lost."""

    live = False

    def __init__(self, pictures: Iterable[Any], name: str) -> None:
        """Remember what to read.

        Args:
            pictures: what `boir_sdk.image.read` takes, or pairs `(time_s, picture)` with times in seconds.
            name: for people, without credentials.
        """
        self.name = name
        self._pictures = pictures
        self._iterator: Iterator[Any] | None = None
        self._index = -1
        self._cancelled = False

    def open(self) -> None:
        """Begin at the first picture."""
        self._iterator = iter(self._pictures)
        self._index = -1

    def read(self) -> Frame | None:
        """Read the next picture.

        Raises:
            SourceError: `decode` and `skip` when this picture can't be used, `source` and `end` when the iterable
                itself raised.
        """
        if self._iterator is None or self._cancelled:
            return None
        start = time.perf_counter()
        try:
            item = next(self._iterator)
        except StopIteration:
            return None
        except Exception as error:
            what = redact(f"{type(error).__name__}: {error}")
            raise SourceError("source", f"{self.name}: no next frame: {what}", "end") from error
        self._index += 1
        time_s = self._index / PICTURES_PER_SECOND
        if isinstance(item, tuple) and len(item) == 2:
            time_s, item = _seconds(item[0], self._index, self.name), item[1]
        try:
            image = images.read(item)
        except InputError as error:
            where = "" if isinstance(item, (str, os.PathLike)) else f"picture {self._index} of {self.name}: "
            raise SourceError("decode", redact(f"{where}{error}"), "skip") from error
        captured = time.monotonic()
        return Frame(image, self._index, time_s, captured, (time.perf_counter() - start) * 1000)

    def close(self) -> None:
        """Let go of the iterable; a generator is closed."""
        close = getattr(self._iterator, "close", None)
        self._iterator = None
        if close is not None:
            close()

    def cancel(self) -> None:
        """No further picture is read; one that is being read comes to its end."""
        self._cancelled = True


def _seconds(value: Any, index: int, name: str) -> float:
    try:
        time_s = float(value)
    except (TypeError, ValueError):
        time_s = math.nan
    if not math.isfinite(time_s):
        raise SourceError("source", f"picture {index} of {name}: its time must be a finite number of seconds", "end")
    return time_s
