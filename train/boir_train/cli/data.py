"""`boir-train data check`: is a data set whole, and is it kept apart from the sets it is judged on?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import Skeleton, get_skeleton
from boir_train import config
from boir_train.data import check
from boir_train.data.datasets import Source
from boir_train.data.perceptual import BITS, NEAR

DESCRIPTION = f"""\
Look after data sets. `check` reads every picture of COCO-style sets: is it there, can it be decoded to its end, has it
the annotated size, are the annotations well-formed? Pictures whose width and height are exchanged in the annotations
(old CrowdPose files; training corrects that) are counted, and nothing is wrong with them.

With --against it also proves that no picture of the sets is in another one: by image id, and by a perceptual hash that
finds re-encoded, resized and mirrored copies too. Copies differ in at most {NEAR} of the hash's {BITS} bits, unrelated
pictures in about half of them; cropped copies aren't found. Ids are compared as numbers, so both sets must take theirs
from the same data set.
"""
EPILOG = """\
examples:
  boir-train data check --annotations person_keypoints_train2017.json --images train2017 \\
      --against person_keypoints_val2017.json val2017
  boir-train data check --config runs/nano/config.yaml --against val.json --against-images val \\
      --against crowded.json --against-images crowded --json report.json

exit codes: 0 all is well, 1 something is wrong or shared (each is named), 2 wrong usage, 130 interrupted
"""
SHOWN = 20  # entries of a list that are printed; --json has all
STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("task", choices=("check",), help="what to do")
    parser.add_argument(
        "--annotations", action="append", default=[], metavar="FILE", help="COCO-style keypoint JSON; repeatable"
    )
    parser.add_argument(
        "--images", action="append", default=[], metavar="DIR", help="folder of its pictures; one for each FILE"
    )
    parser.add_argument("--config", metavar="NAME|FILE", help="instead: every training set that a configuration names")
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="folder that relative paths of these start at; default: the configuration's, or here",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        action="append",
        default=[],
        metavar=("FILE", "DIR"),
        help="a set to be kept apart from; DIR may be left to --against-images; repeatable",
    )
    parser.add_argument(
        "--against-images", action="append", default=[], metavar="DIR", help="its pictures; one for each without DIR"
    )
    parser.add_argument(
        "--json", nargs="?", const=STDOUT, metavar="OUT", help="write everything as JSON; without OUT print it"
    )


def run(args: argparse.Namespace) -> int:
    """Check; returns 0 if all is well, else 1.

    Raises:
        ConfigError: no set was named, or in two ways, or files and folders don't pair.
        DataError: an annotation file can't be used at all.
        InputError: the report can't be written.
    """
    sources, root, skeleton = _training(args)
    others = _evaluation(args)
    quiet = args.json == STDOUT
    training = [_check(source, root, skeleton, quiet) for source in sources]
    evaluation = [_check(source, ".", None, quiet) for source in others]
    comparisons = [
        _compare(one, own, other, its)
        for one, own in zip(sources, training, strict=True)
        for other, its in zip(others, evaluation, strict=True)
    ]
    problems = any(one.problems for one in (*training, *evaluation))
    report = {
        "well": not problems and not any(entry["leaks"] for entry in comparisons),
        "near": NEAR,
        "bits": BITS,
        "sets": [
            *(_facts("training", one, own) for one, own in zip(sources, training, strict=True)),
            *(_facts("evaluation", one, own) for one, own in zip(others, evaluation, strict=True)),
        ],
        "comparisons": comparisons,
    }
    text = json.dumps(report, indent=2)
    if not quiet and args.json is not None:
        write_atomic(Path(args.json), (text + "\n").encode())
    print(text if quiet else "\n".join(_lines(report)))
    return 0 if report["well"] else 1


def _training(args: argparse.Namespace) -> tuple[tuple[Source, ...], str, Skeleton | None]:
    """The sets to check, the folder of their paths, and the skeleton that they must have."""
    named = bool(args.annotations or args.images)
    if (args.config is None) != named:
        raise ConfigError("name the sets by --annotations and --images, or by --config")
    if named:
        if len(args.annotations) != len(args.images):
            raise ConfigError("every --annotations FILE needs its --images DIR, in the same order")
        return tuple(map(Source, args.annotations, args.images)), args.root or ".", None
    settings = config.load(args.config)
    if not settings.data.train:
        raise ConfigError(f"{args.config} names no training set (data.train is empty): nothing to check")
    return settings.data.train, args.root or settings.data.root, get_skeleton(settings.model.skeleton)


def _evaluation(args: argparse.Namespace) -> tuple[Source, ...]:
    """The sets to be kept apart from."""
    if sum(len(entry) == 1 for entry in args.against) != len(args.against_images) or any(
        len(entry) > 2 for entry in args.against
    ):
        raise ConfigError("every --against FILE needs one folder: behind it, or by --against-images in the same order")
    folders = iter(args.against_images)
    return tuple(Source(entry[0], entry[1] if len(entry) == 2 else next(folders)) for entry in args.against)


def _check(source: Source, root: str, skeleton: Skeleton | None, quiet: bool) -> check.Checked:
    name = Path(source.annotations).name
    return check.check(
        source, root, skeleton, lambda records: tqdm(list(records), desc=name, unit="picture", disable=quiet or None)
    )


def _compare(one: Source, own: check.Checked, other: Source, its: check.Checked) -> dict[str, Any]:
    found, smallest = check.leaks(own.fingerprints, its.fingerprints)
    return {
        "training": one.annotations,
        "evaluation": other.annotations,
        "smallest_distance": smallest,
        "leaks": [dataclasses.asdict(leak) for leak in found],
    }


def _facts(role: str, source: Source, one: check.Checked) -> dict[str, Any]:
    names = ("skeleton", "pictures", "people", "keypoints", "problems", "swapped")
    return {"role": role, **dataclasses.asdict(source), **{name: getattr(one, name) for name in names}}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for a reader."""
    for one in report["sets"]:
        yield (
            f"{one['annotations']} ({one['role']}): "
            f"{one['pictures']} pictures, {one['people']} people, {one['keypoints']} keypoints"
        )
        yield from _first(one["problems"])
        if one["swapped"]:
            yield f"  width and height of {len(one['swapped'])} pictures are exchanged in the annotations; harmless:"
            yield from _first(one["swapped"])
    for entry in report["comparisons"]:
        yield (
            f"{entry['training']} - {entry['evaluation']}: {len(entry['leaks'])} shared; the nearest two differ in "
            f"{entry['smallest_distance']} of {report['bits']} bits (copies: at most {report['near']})"
        )
        yield from _first([f"SHARED: {_shared(leak)}" for leak in entry["leaks"]])
    yield "all is well" if report["well"] else "NOT well"


def _first(texts: list[str]) -> Iterator[str]:
    """The first of `texts`, and how many there are more."""
    yield from (f"  {text}" for text in texts[:SHOWN])
    if len(texts) > SHOWN:
        yield f"  and {len(texts) - SHOWN} more (--json lists them)"


def _shared(leak: dict[str, Any]) -> str:
    how = ["same id"] if leak["same_id"] else []
    if leak["distance"] is None:
        how.append("one of them can't be read")
    else:
        how.append(f"{leak['distance']} bits differ" + (", mirrored" if leak["mirrored"] else ""))
    return f"{leak['training']} and {leak['evaluation']} ({', '.join(how)})"
