"""Several annotation files as one: CrowdPose's trainval is train and val together, and isn't shipped (T4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boir_sdk.errors import DataError
from boir_train.data.datasets import read_json


def merge(paths: Sequence[Path]) -> dict[str, Any]:
    """Concatenate the images and annotations of COCO-style files, in the order given.

    Raises:
        DataError: a file is missing or malformed, two share an id, or their categories differ.
    """
    joined: dict[str, Any] = {"images": [], "annotations": []}
    owner: dict[tuple[str, Any], Path] = {}
    for path in paths:
        content = read_json(path)
        if content.get("categories", []) != joined.setdefault("categories", content.get("categories", [])):
            raise DataError(f"{path} has other categories than {paths[0]}: they are different data sets")
        for kind in ("images", "annotations"):
            for record in content[kind]:
                if not isinstance(record, dict) or "id" not in record:
                    raise DataError(f"{path}: an entry of {kind!r} has no id")
                before = owner.setdefault((kind, record["id"]), path)
                if before != path:
                    raise DataError(f"id {record['id']} of {kind!r} is in {before} and in {path}: it must be unique")
            joined[kind] += content[kind]
    return joined
