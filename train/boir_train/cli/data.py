"""`boir-train data`: `check` whether a set is whole and kept apart from those it is judged on, `merge` two files."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError, DataError
from boir_sdk.skeleton import Skeleton, get_skeleton
from boir_train import config
from boir_train.data import check, known
from boir_train.data.datasets import Source
from boir_train.data.merge import merge
from boir_train.data.perceptual import BITS, NEAR

DESCRIPTION = f"""\
Look after data sets. `check` reads every picture of COCO-style sets: is it there, can it be decoded to its end, has it
the annotated size, are the annotations well-formed? Pictures whose width and height are exchanged in the annotations
(old CrowdPose files; training corrects that) are counted, and nothing is wrong with them.

With --against it also proves that no picture of the sets is in another one: by image id, and by a perceptual hash that
finds re-encoded, resized and mirrored copies too. Copies differ in at most {NEAR} of the hash's {BITS} bits, unrelated
pictures in about half of them; cropped copies aren't found. Ids are compared as numbers, so both sets must take theirs
from the same data set.

--dataset checks the paper's sets in the folders that the configurations expect, training and evaluation parts against
each other, and says what to fetch for what is missing. Counts of pictures and people are set beside the paper's; a set
that has others is only told about, unless --whole asks for all of it.

`merge` writes several annotation files as one, for example CrowdPose's train and val as trainval.
"""
EPILOG = """\
examples:
  boir-train data check --dataset crowdpose --root data/crowdpose --whole
  boir-train data merge --annotations crowdpose_train.json --annotations crowdpose_val.json \\
      --out crowdpose_trainval.json
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
    parser.add_argument("task", choices=("check", "merge"), help="what to do")
    parser.add_argument(
        "--annotations", action="append", default=[], metavar="FILE", help="COCO-style keypoint JSON; repeatable"
    )
    parser.add_argument(
        "--images", action="append", default=[], metavar="DIR", help="folder of its pictures; one for each FILE"
    )
    parser.add_argument("--config", metavar="NAME|FILE", help="instead: every training set that a configuration names")
    parser.add_argument("--dataset", choices=tuple(known.DATA_SETS), help="instead: the parts of one of the paper's")
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="folder that relative paths of these start at; default: the configuration's, data/DATASET, or here",
    )
    parser.add_argument("--whole", action="store_true", help="other counts than the paper's are wrong")
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
    parser.add_argument("--out", type=Path, metavar="FILE", help="of `merge`")


def run(args: argparse.Namespace) -> int:
    """Check or merge; returns 0 if all is well, else 1.

    Raises:
        ConfigError: no set was named, or in two ways, or files and folders don't pair.
        DataError: an annotation file can't be used at all.
        InputError: the report can't be written.
    """
    if args.task == "merge":
        return _merge(args)
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
    pairs = zip((*sources, *others), (*training, *evaluation), strict=True)
    counts = [known.count(source.annotations, one.pictures, one.people) for source, one in pairs]
    counted = [one for one in counts if one is not None]
    short = args.whole and not all(one.agrees for one in counted)
    report = {
        "well": not problems and not short and not any(entry["leaks"] for entry in comparisons),
        "near": NEAR,
        "bits": BITS,
        "sets": [
            *(_facts("training", one, own) for one, own in zip(sources, training, strict=True)),
            *(_facts("evaluation", one, own) for one, own in zip(others, evaluation, strict=True)),
        ],
        "comparisons": comparisons,
        "counts": [dataclasses.asdict(one) for one in counted],
    }
    text = json.dumps(report, indent=2)
    if not quiet and args.json is not None:
        write_atomic(Path(args.json), (text + "\n").encode())
    print(text if quiet else "\n".join(_lines(report)))
    return 0 if report["well"] else 1


def _training(args: argparse.Namespace) -> tuple[tuple[Source, ...], str, Skeleton | None]:
    """The sets to check, the folder of their paths, and the skeleton that they must have."""
    named = bool(args.annotations or args.images)
    if named + (args.config is not None) + (args.dataset is not None) != 1:
        raise ConfigError("name the sets by --annotations and --images, by --dataset, or by --config")
    if args.dataset is not None:
        root = args.root or f"data/{args.dataset}"
        absent = known.missing(args.dataset, Path(root))
        if absent:
            raise DataError(f"{args.dataset} isn't complete in {root}:\n  " + "\n  ".join(absent))
        return known.sources(args.dataset, training=True), root, None
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
    parts: tuple[Source, ...] = ()
    if args.dataset is not None:
        root = Path(args.root or f"data/{args.dataset}")
        parts = tuple(
            Source(str(root / part.annotations), str(root / part.images))
            for part in known.sources(args.dataset, training=False)
        )
    return (*parts, *(Source(entry[0], entry[1] if len(entry) == 2 else next(folders)) for entry in args.against))


def _merge(args: argparse.Namespace) -> int:
    if args.out is None or len(args.annotations) < 2:
        raise ConfigError("merge needs two --annotations FILE or more, and --out FILE")
    content = merge([Path(args.root or ".", name) for name in args.annotations])
    write_atomic(args.out, json.dumps(content).encode())
    print(f"{args.out}: {len(content['images'])} pictures, {len(content['annotations'])} annotations")
    return 0


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
    for one in report["counts"]:
        least, most = one["expected_people"]
        people = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        yield (
            f"{one['name']}: the whole has {one['expected_pictures']:,} pictures and {people} people with joints, "
            f"{'as here' if one['agrees'] else 'not as here'}"
        )
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
