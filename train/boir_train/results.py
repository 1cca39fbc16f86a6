"""Evaluations of the paper's models: which run stands for which figure, and whether a result file is one.

A run is known by its name: the configuration's, and for a second test split that split's. `boir-eval` writes its
figures to `<run>.json`. What a figure of the paper means is a whole test set, one network size and the flip test; a
result on fewer pictures is never put in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boir_sdk.errors import DataError


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation of the paper.

    Attributes:
        name: of the run and its result file.
        dataset: protocol, "coco", "crowdpose" or "ochuman".
        preset, size: the network, and its size in pixels.
        pictures: of the whole test set (SPEC-training T4.5).
        annotations, images, weights: where the configurations of this package have them.
        server: the figures come from COCO's evaluation server, as the annotations aren't public.
    """

    name: str
    dataset: str
    preset: str
    size: int
    pictures: int
    annotations: str
    images: str
    weights: str
    server: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A file that `boir-eval` wrote, or to which the server's figures were added by hand.

    Attributes:
        name: the file's, without its ending.
        path: the file.
        content: as read.
    """

    name: str
    path: str
    content: Mapping[str, Any]

    def figure(self, name: str) -> float | None:
        """A figure in per cent, or None where the file has none (-1 in the file: nobody of that kind)."""
        value = self.content.get(name)
        return 100 * value if isinstance(value, (int, float)) and value >= 0 else None


def _runs() -> dict[str, Run]:
    made = []
    for preset, size in (("w32", 512), ("w48", 640)):
        model = {"preset": preset, "size": size}
        coco = {"dataset": "coco", "weights": f"runs/coco_{preset}/final.safetensors", **model}
        val = {"annotations": "data/coco/annotations/coco_val.json", "images": "data/coco/images/val2017"}
        test = {"annotations": "data/coco/annotations/coco_test.json", "images": "data/coco/images/test2017"}
        made.append(Run(f"coco_{preset}", pictures=5000, **val, **coco))
        made.append(Run(f"coco_{preset}_testdev", pictures=20288, **test, **coco, server=True))
        for suffix in ("", "_finetune"):
            name = f"crowdpose_{preset}{suffix}"
            made.append(
                Run(
                    name,
                    dataset="crowdpose",
                    pictures=8000,
                    annotations="data/crowdpose/annotations/crowdpose_test.json",
                    images="data/crowdpose/images",
                    weights=f"runs/{name}/final.safetensors",
                    **model,
                )
            )
        for split, pictures in (("val", 2500), ("test", 2231)):
            made.append(
                Run(
                    f"ochuman_{preset}_{split}",
                    pictures=pictures,
                    annotations=f"data/ochuman/annotations/ochuman_{split}.json",
                    images="data/ochuman/images",
                    **{**coco, "dataset": "ochuman"},
                )
            )
    return {run.name: run for run in made}


RUNS = _runs()


def read(paths: Iterable[Path]) -> dict[str, Result]:
    """Read result files, and all `*.json` of folders, by name.

    Raises:
        DataError: a path isn't there, a file isn't a result of `boir-eval`, or two have one name.
    """
    found: dict[str, Result] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"no results at {path}: give files that boir-eval wrote (--json), or their folder")
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            result = _read(file)
            if result.name in found:
                raise DataError(f"{file} and {found[result.name].path} have one name: rename one")
            found[result.name] = result
    return found


def _read(file: Path) -> Result:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read as JSON: {error}") from error
    whole = isinstance(content, dict) and content.get("unit") == "fraction" and isinstance(content.get("images"), int)
    if not whole or not all(isinstance(content.get(key), dict) for key in ("protocol", "model")):
        raise DataError(f"{file} isn't a result of boir-eval: keep only the files of its --json there")
    for key, value in content.items():
        if key.startswith(("AP", "AR")) and not (isinstance(value, (int, float)) and -1 <= value <= 1):
            raise DataError(f"{file}: {key} is {value!r}, but figures are fractions from 0 to 1 (or -1)")
    return Result(file.stem, str(file), content)


def objections(run: Run, result: Result) -> list[str]:
    """Why a result can't stand for a run; empty if it can."""
    protocol, model = result.content["protocol"], result.content["model"]
    found = []
    if result.content["images"] != run.pictures:
        found.append(f"{result.content['images']:,} of {run.pictures:,} pictures")
    for what, own, wanted in (
        ("protocol", protocol.get("dataset"), run.dataset),
        ("model", model.get("preset"), run.preset),
        ("size", protocol.get("size"), run.size),
    ):
        if own != wanted:
            found.append(f"{what} {own} instead of {wanted}")
    if protocol.get("flip_test") is not True:
        found.append("no flip test")
    if result.figure("AP") is None:
        found.append("no figures yet: add those of the evaluation server" if run.server else "no figures")
    return found


def missing(run: Run, root: Path) -> str:
    """Why there is no result of a run: the files it lacks below `root`, or the command that nobody gave yet."""
    from boir_train.data.datasets import ORIGINAL_NAMES

    original = Path(run.annotations).with_name(ORIGINAL_NAMES.get(Path(run.annotations).name, "-"))
    lacking = [path for path in (run.images, run.weights) if not (root / path).exists()]
    if not (root / run.annotations).exists() and not (root / original).exists():
        lacking.insert(0, run.annotations)
    if lacking:
        return f"not run: needs {', '.join(lacking)}" + (" and the evaluation server" if run.server else "")
    return f"not run: needs {command(run)}"


def command(run: Run) -> str:
    """The command whose `--json` is the run's result."""
    written = "submitted/keypoints_cocotestdev_results.json"
    return (
        f"boir-eval --model {run.weights} --annotations {run.annotations} --images {run.images} --dataset "
        f"{run.dataset} --size {run.size} --flip --json results/{run.name}.json"
        + (f" --detections {written}" if run.server else "")
    )
