"""A network of a few thousand parameters with the training interface, and a data set of drawn people.

`python -m tests.support.tiny_training fit ...` is `boir-train fit ...` with that network, for tests of whole runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from boir_sdk.skeleton import COCO17, Skeleton, get_skeleton
from boir_train.losses.focal import probability
from boir_train.model.settings import IMAGENET_MEAN, IMAGENET_STD, ModelSettings


class TinyNet(nn.Module):
    """Two strided convolutions with batch norm, and 1x1 heads."""

    def __init__(self, skeleton: Skeleton, channels: int = 8) -> None:
        super().__init__()
        self.settings = ModelSettings(
            preset="w32",
            skeleton=skeleton,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            multiple=64,
            fit_rule="short",
            resample="bilinear",
            default_size=64,
            pool_kernel=3,
            flip="features",
        )
        self.backbone = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 2, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        keypoints = len(skeleton)
        self.center = nn.Conv2d(channels, 1, 1)
        self.bottom_up = nn.Conv2d(channels, keypoints, 1)
        self.embedding = nn.Conv2d(channels, 128, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        self.person = nn.Conv2d(channels, keypoints, 1)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        if len(features) == 2:
            features = torch.stack([features[0], features[1].flip(-1)])
        return {"features": features, "center_logits": self.center(features)}

    def _person(self, features: Tensor, index: Tensor, yx: Tensor) -> Tensor:
        vectors = features[index, :, yx[:, 0], yx[:, 1]]
        return self.person(features[index] * vectors[..., None, None])

    def person_heatmaps(self, encoded: dict[str, Tensor], yx: Tensor) -> Tensor:
        features = encoded["features"]
        heat = [self._person(features, torch.full_like(yx[:, 0], view), yx) for view in range(len(features))]
        return probability(torch.stack(heat))

    def forward(self, x: Tensor, image_index: Tensor, yx: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        return {
            "center_logits": self.center(features),
            "keypoint_logits": self.bottom_up(features),
            "embedding": self.embedding(features),
            "box": self.box(features),
            "person_logits": self._person(features, image_index, yx),
        }


def build_tiny(preset: str, skeleton: str, training: bool = False, *, init: str = "fixed") -> TinyNet:
    """Stand in for `boir_train.build_model`."""
    return TinyNet(get_skeleton(skeleton))


def person(image_id: int, number: int, box: tuple[float, float, float, float], **changes: Any) -> dict[str, Any]:
    """Return an annotation of a coco17 person whose keypoints lie on the box' diagonal; `changes` replace keys."""
    x, y, w, h = box
    joints = [value for k in range(17) for value in (round(x + w * k / 17), round(y + h * k / 17), 2)]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": list(box),
        "area": w * h,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": joints,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        **changes,
    }


def write_data_set(folder: Path, pictures: int = 6, seed: int = 0) -> Path:
    """Write `people.json` and `images/` with `pictures` pictures of one or two coloured boxes; return the folder."""
    generator = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in range(1, pictures + 1):
        height, width = (96, 128) if image_id % 2 else (120, 90)
        image = generator.integers(0, 80, (height, width, 3)).astype(np.uint8)
        for _ in range(1 + image_id % 2):
            x, y = generator.integers(2, 30, 2).tolist()
            w, h = generator.integers(35, 55, 2).tolist()
            cv2.rectangle(image, (x, y), (x + w, y + h), generator.integers(120, 255, 3).tolist(), -1)
            annotations.append(person(image_id, len(annotations) + 1, (x, y, w, h)))
        name = f"{image_id:03d}.png"
        cv2.imwrite(str(folder / "images" / name), image)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
    write_people(folder / "people.json", images, annotations)
    return folder


def write_people(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    """Write a COCO-style keypoint file."""
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def tiny_config(folder: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of a short run on the data set in `folder`; `sections` add to or replace its values."""
    tree: dict[str, dict[str, Any]] = {
        "data": {
            "root": str(folder),
            "train": [{"annotations": "people.json", "images": "images"}],
            "sizes": [64],
            "min_area": 0,
            "workers": 0,
        },
        "schedule": {"epochs": 2, "warmup_epochs": 0},
        "train": {"device": "cpu", "batch_size": 2, "log_every": 1, "threads": 1},
        "optim": {"lr": 0.01},
    }
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    return tree


if __name__ == "__main__":
    from boir_train import fit
    from boir_train.cli.main import main

    fit.build_model = build_tiny
    sys.exit(main())
