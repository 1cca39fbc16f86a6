"""COCO results of a run: which image id a picture has, and the result file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import DataError, InputError
from boir_sdk.inputs import Source


def annotated_ids(annotations: Path, sources: Sequence[Source]) -> dict[int, int]:
    """Give each picture the id that an annotation file has for its file name.

    A `file_name` with folders must match the picture's place below the folder given; otherwise names alone are matched.

    Returns:
        `Source.number` -> image id.

    Raises:
        DataError: not a COCO annotation file, a picture that isn't in it, or a name that several pictures share.
        InputError: the file can't be read.
    """
    try:
        images = json.loads(annotations.read_bytes())["images"]
        exact = {PurePosixPath(image["file_name"]).as_posix(): int(image["id"]) for image in images}
    except OSError as error:
        raise InputError(f"can't read {annotations}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} is no COCO annotation file: images[].file_name and images[].id needed"
        ) from error
    count = Counter(PurePosixPath(name).name for name in exact)
    by_name = {PurePosixPath(name).name: image_id for name, image_id in exact.items()}
    ids: dict[int, int] = {}
    for source in sources:
        name = source.path.name
        image_id = exact.get(source.relative.as_posix())
        if image_id is None and count[name] > 1:
            raise DataError(f"{annotations} has {count[name]} pictures called {name}: give the folder they lie in")
        if image_id is None and name not in by_name:
            raise DataError(f"{annotations} has no picture called {name} (for {source.path})")
        ids[source.number] = by_name[name] if image_id is None else image_id
    return ids


class CocoResults:
    """Collect the people of a run as COCO results; nothing is on disk before `write`.

    Without ids from an annotation file, pictures are numbered by their place in the command (so the shards of one
    command never share a number), and `NAME.images.json` beside the result file says which number is which picture.
    """

    def __init__(self, path: Path, ids: dict[int, int] | None) -> None:
        self._path = path
        self._ids = ids
        self._people: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []

    def image_id(self, source: Source) -> int:
        """The id under which the people of a picture are filed."""
        return source.number if self._ids is None else self._ids[source.number]

    def add(self, source: Source, width: int, height: int, people: Sequence[dict[str, Any]]) -> None:
        """File the people of one picture (`Poses.to_coco`) of `width` x `height` px."""
        self._people += people
        self._images.append(
            {"id": self.image_id(source), "file_name": source.path.as_posix(), "width": width, "height": height}
        )

    def write(self) -> None:
        """Write the result file, and the numbering if it is ours."""
        if self._ids is None:
            numbering = self._path.with_name(f"{self._path.stem}.images.json")
            write_atomic(numbering, json.dumps({"images": self._images}).encode())
        write_atomic(self._path, json.dumps(self._people).encode())
