"""Hold out some training pictures, to choose weights by (the evaluation sets are for the final figure only)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boir_sdk.errors import ConfigError, DataError
from boir_train.data.datasets import Picture, Source, find_annotations, read_json


def hold_out(pictures: Sequence[Picture], count: int) -> tuple[list[Picture], list[Picture]]:
    """Return (training, held out): `count` pictures in which everybody is annotated, the same ones in every run.

    Chosen by a hash of the image id, so more training data or another order moves few of them.

    Raises:
        ConfigError: there aren't that many, or none would be left for training.
        DataError: two pictures have one id, so the held-out ones can't be told apart.
    """
    if not count:
        return list(pictures), []
    if len({picture.image_id for picture in pictures}) < len(pictures):
        raise DataError("eval.hold_out needs image ids that are unique over all of data.train: use eval.annotations")
    complete = sorted((picture for picture in pictures if picture.complete), key=lambda entry: _hash(entry.image_id))
    if count > len(complete) or count >= len(pictures):
        raise ConfigError(
            f"eval.hold_out is {count}, but only {len(complete)} of {len(pictures)} pictures can be held out"
        )
    held = {picture.image_id for picture in complete[:count]}
    training = [picture for picture in pictures if picture.image_id not in held]
    return training, [picture for picture in pictures if picture.image_id in held]


def ground_truth(pictures: Sequence[Picture], sources: Sequence[Source], root: str) -> dict[str, Any]:
    """Return the annotation records, as the files have them, of `pictures` taken from `sources`."""
    wanted = {picture.image_id for picture in pictures}
    joined: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for source in sources:
        content = read_json(find_annotations(Path(root, source.annotations)))
        joined["images"] += [record for record in content["images"] if record["id"] in wanted]
        joined["annotations"] += [record for record in content["annotations"] if record["image_id"] in wanted]
    return joined


def _hash(image_id: int) -> str:
    return hashlib.sha256(str(image_id).encode()).hexdigest()
