"""Figures of a model on pictures that it isn't trained on, while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from torch import nn
from tqdm import tqdm

from boir_sdk.errors import DataError
from boir_train.config import EvalConfig
from boir_train.data.datasets import find_annotations
from boir_train.evaluation import evaluate, load_annotations
from boir_train.inference import predict


class Validation:
    """Predicts the pictures of an annotation set and measures the result; call it with a model in evaluation mode."""

    def __init__(self, annotations: Mapping[str, Any], paths: Mapping[int, Path], settings: EvalConfig) -> None:
        """Evaluate on pictures whose annotations are complete.

        Args:
            annotations: COCO-style ground truth.
            paths: picture file by image id.
            settings: protocol, size, flip test and limit.

        Raises:
            DataError: a picture file is missing, or no picture is left.
        """
        usable = [record for record in annotations["images"] if record.get("annotation_source") != "labels_only"]
        self._ids = [int(record["id"]) for record in usable][: settings.limit or None]
        self._annotations, self._paths, self._settings = annotations, paths, settings
        if not self._ids:
            raise DataError("no picture to evaluate on: each lacks annotations of some people, or the file is empty")
        for image_id in self._ids:
            if not paths[image_id].is_file():
                raise DataError(f"picture {paths[image_id]} of image id {image_id}, to evaluate on, is missing")

    @classmethod
    def of_files(cls, settings: EvalConfig, root: str) -> Validation:
        """Evaluate on `settings.annotations` and `settings.images`, relative to `root`.

        Raises:
            DataError: a file is missing or malformed.
        """
        annotations = load_annotations(find_annotations(Path(root, settings.annotations or "")), settings.protocol)
        folder = Path(root, settings.images or "")
        paths = {int(record["id"]): folder / record["file_name"] for record in annotations["images"]}
        return cls(annotations, paths, settings)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return the protocol's figures, fractions 0 to 1 (-1: nobody of that kind).

        Raises:
            DataError: a picture can't be decoded.
        """
        detections: list[dict[str, Any]] = []
        for image_id in tqdm(self._ids, desc="evaluating", unit="picture", leave=False, dynamic_ncols=True):
            detections += self._detect(model, image_id)
        return dict(evaluate(self._annotations, detections, self._settings.protocol, image_ids=self._ids).stats)

    def _detect(self, model: nn.Module, image_id: int) -> Sequence[dict[str, Any]]:
        path, settings = self._paths[image_id], self._settings
        image_bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image_bgr is None:
            raise DataError(f"picture {path} (image id {image_id}) can't be decoded: replace the file")
        poses = predict(
            model,
            image_bgr,
            size=settings.size or None,
            flip_test=settings.flip_test,
            protocol=settings.protocol,
            second_look=None,
        )
        return poses.to_coco(image_id)
