"""COCO annotation files: problems named with their entry, or a `DataError`; no broken region reaches pycocotools."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from boir_sdk.skeleton import COCO17
from boir_train.data import check, datasets
from boir_train.data.datasets import Source
from fuzz import mutate
from fuzz.campaign import Campaign, Case

HEIGHT, WIDTH = 40, 60


def good_set(folder: Path) -> dict[str, Any]:
    """Three pictures, with people, a crowd in both run-length forms, and somebody without keypoints."""
    runs = [100, 200, HEIGHT * WIDTH - 300]
    images, people = [], []
    for number in range(1, 4):
        noise = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(noise, (WIDTH, HEIGHT)))
        images.append({"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
        person = {"image_id": number, "bbox": [5.0, 5.0, 30.0, 30.0], "iscrowd": 0, "category_id": 1}
        joints: list[float] = [10.5, 12.0, 2] * len(COCO17)
        people.append({**person, "id": 10 * number, "keypoints": joints, "num_keypoints": 17})
        nothing = {"keypoints": [0] * 51, "num_keypoints": 0}
        polygon = [[5.0, 5.0, 30.0, 5.0, 30.0, 30.0]]
        people.append({**person, **nothing, "id": 10 * number + 1, "segmentation": polygon})
        region = {"size": [HEIGHT, WIDTH], "counts": runs if number == 1 else _compressed(runs)}
        people.append({**person, **nothing, "id": 10 * number + 2, "iscrowd": 1, "segmentation": region})
    return {"images": images, "annotations": people}


def _compressed(runs: list[int]) -> str:
    from pycocotools import mask

    return str(mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH)["counts"].decode())


def prepare(folder: Path) -> Case:
    """A good set, whose annotation file is written anew for each case."""
    content = good_set(folder)
    text, path = json.dumps(content).encode(), folder / "set.json"
    source = Source(path.name, ".")

    def case(rng: random.Random) -> None:
        if rng.random() < 0.3:
            bad = mutate.data(rng, text)
        else:
            changed = mutate.tree(rng, content)
            if rng.random() < 0.3 and isinstance(changed, dict) and isinstance(changed.get("annotations"), list):
                _spoil_region(rng, changed["annotations"])
            bad = json.dumps(changed).encode()
        path.write_bytes(bad)
        found = check.check(source, str(folder))
        assert all(len(problem) < 3000 for problem in found.problems), "a problem that nobody can read"
        pictures = datasets.load([source], COCO17, "coco", str(folder))
        for picture in pictures:
            datasets.valid_mask(picture)

    return case


def _spoil_region(rng: random.Random, people: Any) -> None:
    regions = [
        one["segmentation"] for one in people if isinstance(one, dict) and isinstance(one.get("segmentation"), dict)
    ]
    if not regions:
        return
    region = rng.choice(regions)
    counts = region.get("counts")
    if isinstance(counts, str):
        region["counts"] = mutate.data(rng, counts.encode()).decode("latin-1")
    elif isinstance(counts, list):
        region["counts"] = mutate.tree(rng, counts)


CAMPAIGN = Campaign("annotations", 1000, prepare, ("boir_train.data.check",))
