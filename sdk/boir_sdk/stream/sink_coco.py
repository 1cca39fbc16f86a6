"""Results of one source as COCO keypoint results, written as they come and whole when closed."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from boir_sdk.errors import InputError
from boir_sdk.stream.result import StreamResult
from boir_sdk.stream.whole_file import WholeFile


class CocoSink:
    """Files each frame's people under `image_id` = the frame's number in its source.

    `NAME.images.json` beside the result file lists the frames (id, source, size in px, time in s), those without
    people too. With tracked people a record has `track_id`. Memory stays flat: records go to temporary files, which get
    their names in `close`.
    """

    def __init__(self, path: str | Path) -> None:
        """Open both files.

        Args:
            path: of the results; ends in .json.

        Raises:
            InputError: nothing can be written there.
        """
        path = Path(path)
        self._people = _JsonArray(path, "[", "]")
        try:
            self._images = _JsonArray(path.with_name(f"{path.stem}.images.json"), '{"images": [', "]}")
        except InputError:
            self._people.discard()
            raise
        self._source: str | None = None
        self._last = -1
        self._closed = False

    def write(self, result: StreamResult) -> None:
        """File the people of one frame; an event without a frame is passed over.

        Args:
            result: the next one of the stream.

        Raises:
            InputError: the frame is of another source, or its number was there already; or the disk is full.
        """
        if result.frame is None:
            return
        if result.source != (self._source or result.source):
            raise InputError(f"{self._people.path} is of {self._source}: results of {result.source} need another file")
        if result.index <= self._last:
            raise InputError(f"{self._people.path}: frame {result.index} after frame {self._last}; numbers must rise")
        self._source, self._last = result.source, result.index
        height, width = result.frame.shape[:2]
        people = result.poses.to_coco(result.index)
        if result.poses.ids is not None:
            people = [
                {**person, "track_id": int(number)} for person, number in zip(people, result.poses.ids, strict=True)
            ]
        name = f"{result.source}#{result.index}"
        size = {"width": width, "height": height}
        self._images.add([{"id": result.index, "file_name": name, **size, "time_s": round(result.time_s, 4)}])
        self._people.add(people)

    def close(self) -> None:
        """Finish both files; a second call does nothing."""
        if not self._closed:
            self._closed = True
            try:
                self._images.finish()
            except BaseException:
                self._people.discard()
                raise
            self._people.finish()

    def __enter__(self) -> CocoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _JsonArray:
    """A JSON file with one long array, item by item."""

    def __init__(self, path: Path, start: str, end: str) -> None:
        self.path = path
        self._whole = WholeFile(path)
        self._file = self._whole.temporary.open("w", encoding="utf-8")
        self._file.write(start)
        self._end, self._empty = end, True

    def add(self, items: list[dict[str, Any]]) -> None:
        try:
            for item in items:
                self._file.write(("" if self._empty else ",\n") + json.dumps(item))
                self._empty = False
        except OSError as error:
            raise self._whole.error(error) from error

    def finish(self) -> None:
        try:
            self._file.write(self._end)
            self._file.close()
        except OSError as error:
            self._whole.discard()
            raise self._whole.error(error) from error
        self._whole.finish()

    def discard(self) -> None:
        self._file.close()
        self._whole.discard()
