"""Can a model learn at all? A few real pictures are learned by heart, and the protocol's AP on them says so.

A defect anywhere between annotations and evaluation (targets, losses, heads, decoding, scoring) keeps that AP low, long
before a real training would show it.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError, DataError
from boir_sdk.skeleton import COCO17, get_skeleton
from boir_train import config, fit, snapshot
from boir_train.config import Config, EvalConfig
from boir_train.data import datasets
from boir_train.data.datasets import Source
from boir_train.data.relabel import relabel
from boir_train.trainer import FINAL, Outcome
from boir_train.validation import Validation

PICTURES = "pictures.json"
# Pictures are chosen so that each person can be found at the size the run has: no dots, no crowds, most joints known.
MOST_PEOPLE = 4
LEAST_JOINTS = 8
LEAST_SHARE = 0.15  # of the picture's long side, the shorter side of a person's box


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        outcome: of the training.
        before, after: the protocol's figures on the pictures, with the start weights and with the learned ones.
        pictures: image ids.
        people: with joints.
        steps: done in all.
        seconds: of this start.
    """

    outcome: Outcome
    before: dict[str, float]
    after: dict[str, float]
    pictures: tuple[int, ...]
    people: int
    steps: int
    seconds: float


def choose(content: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the first `count` pictures, in file order, whose people are few, large and well annotated.

    Raises:
        DataError: there aren't so many.
    """
    people: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in content["annotations"]:
        people[entry["image_id"]].append(entry)
    images = [
        record
        for record in content["images"]
        if record.get("annotation_source") != "labels_only" and _suits(record, people[record["id"]])
    ][:count]
    if len(images) < count:
        raise DataError(
            f"only {len(images)} of {len(content['images'])} pictures have 1 to {MOST_PEOPLE} people, all of them "
            f"large and with {LEAST_JOINTS} joints or more: ask for fewer pictures, or give a larger set"
        )
    annotations = [entry for record in images for entry in people[record["id"]]]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def _suits(record: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> bool:
    least = LEAST_SHARE * max(record["width"], record["height"])
    return 1 <= len(people) <= MOST_PEOPLE and all(
        not entry["iscrowd"] and entry["num_keypoints"] >= LEAST_JOINTS and min(entry["bbox"][2:]) >= least
        for entry in people
    )


def prepare(source: Source, folder: Path, skeleton: str, count: int) -> Path:
    """Write the chosen pictures' annotations, for `skeleton`, into `folder` and return the file.

    Args:
        source: COCO annotations with their pictures.
        folder: is made.
        skeleton: of the run; for another one than coco17 joints of the same name are taken.
        count: of pictures.

    Raises:
        DataError: a file is missing or malformed, or too few pictures suit.
    """
    path = datasets.find_annotations(Path(source.annotations))
    content = datasets.read_json(path)
    for record in content["images"]:
        datasets.check_image(record, path)
    for entry in content["annotations"]:
        datasets.check_annotation(entry, len(COCO17), path)
    chosen = choose(content, count)
    if skeleton != COCO17.name:
        chosen = relabel(chosen, COCO17, get_skeleton(skeleton))
    file = folder / PICTURES
    write_atomic(file, json.dumps(chosen).encode())
    return file


def settings_for(base: Config, annotations: Path, images: str, *, count: int, size: int, steps: int) -> Config:
    """Turn a configuration into one that learns a few pictures by heart: always the same view, every term of the loss.

    Args:
        base: preset, skeleton, start weights, learning rate and what the targets are.
        annotations: of `prepare`.
        images: folder of the pictures.
        count: of pictures; all of them are one batch.
        size: network side, pixels.
        steps: of the whole run.
    """
    skeleton = get_skeleton(base.model.skeleton)
    return replace(
        base,
        data=replace(
            base.data,
            root=".",
            train=(Source(str(annotations), images),),
            sizes=(size,),
            min_area=0.0,
            absent=() if skeleton is COCO17 else tuple(sorted(set(skeleton.keypoints) - set(COCO17.keypoints))),
            workers=0,
            cache_mb=1000,
        ),
        augment=replace(
            base.augment, min_scale=1.0, max_scale=1.0, max_rotation=0.0, max_translate=0.0, flip=0.0, colour=0.0
        ),
        optim=replace(base.optim, freeze=(), blend={}, ema=0.0),
        schedule=replace(base.schedule, iterations=steps, warmup_iterations=min(10, steps // 2)),
        train=replace(base.train, batch_size=count, max_instances=200, checkpoint_every=100),
        eval=EvalConfig(
            annotations=str(annotations),
            images=images,
            protocol="crowdpose" if skeleton.name == "crowdpose14" else "coco",
            size=size,
        ),
    )


def run(settings: Config, folder: Path) -> Result:
    """Train, or go on with what is in `folder`, and measure before and after.

    Raises:
        BoirError: data or weights can't be used, or a loss isn't finite.
    """
    start = time.monotonic()
    config_file = folder / fit.RESOLVED
    resume = (folder / snapshot.FILE).is_file()
    if resume and config.load(str(config_file)) != settings:
        raise ConfigError(f"{folder} holds a run with another configuration: name another folder")
    validation = Validation.of_files(settings.eval, settings.data.root)
    fit.seed(settings)
    model = fit.make_model(settings)
    before = _figures(model, validation)
    outcome = fit.fit(settings, folder, resume=resume)
    done = snapshot.read(folder)
    if outcome != "interrupted":
        fit.load_own(model, folder / FINAL)
    elif done is not None:
        model.load_state_dict(done.model)
    content = datasets.read_json(Path(settings.eval.annotations))
    return Result(
        outcome=outcome,
        before=before,
        after=_figures(model, validation),
        pictures=tuple(record["id"] for record in content["images"]),
        people=sum(entry["num_keypoints"] > 0 for entry in content["annotations"]),
        steps=done.iteration if done is not None else 0,
        seconds=time.monotonic() - start,
    )


def _figures(model: torch.nn.Module, validation: Validation) -> dict[str, float]:
    model.eval()
    with torch.inference_mode():
        return validation(model)
