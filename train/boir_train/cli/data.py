"""`boir-train data check`: is a data set whole, and is it kept apart from the sets it is judged on?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boir_sdk.errors import ConfigError
from boir_train import config
from boir_train.data import check
from boir_train.data.datasets import Source

DESCRIPTION = """\
Look after data sets. `check` reads every picture of a COCO-style set: is it there, can it be decoded, has it the
annotated size, do annotations and images belong together? With --against it also proves that no picture of the set is
in another one: by image id, and by a perceptual hash that finds re-encoded, resized and mirrored copies too.
"""
EPILOG = """\
examples:
  boir-train data check --annotations person_keypoints_train2017.json --images train2017 \\
      --against person_keypoints_val2017.json val2017
  boir-train data check --config runs/nano/config.yaml --against val.json val --against crowded.json crowded

exit codes: 0 all is well, 1 something is wrong or shared (each is named), 2 wrong usage, 130 interrupted
"""
SHOWN = 20  # problems of a set that are printed; --json has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("task", choices=("check",), help="what to do")
    parser.add_argument("--annotations", metavar="FILE", help="COCO-style keypoint JSON")
    parser.add_argument("--images", metavar="DIR", help="folder of its pictures")
    parser.add_argument("--config", metavar="NAME|FILE", help="instead: every training set that a configuration names")
    parser.add_argument("--root", help="folder of relative paths; default: the configuration's, or here")
    parser.add_argument(
        "--against", nargs=2, action="append", default=[], metavar=("FILE", "DIR"), help="a set to be kept apart from"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Check; returns 0 if all is well, else 1.

    Raises:
        ConfigError: no set was named, or in two ways.
        DataError: an annotation file can't be used at all.
    """
    if (args.config is None) == (args.annotations is None) or (args.annotations is None) != (args.images is None):
        raise ConfigError("name the set by --annotations and --images, or by --config")
    if args.config is not None:
        data = config.load(args.config, []).data
        sources, root = data.train, args.root or data.root
    else:
        sources, root = (Source(args.annotations, args.images),), args.root or "."
    sets = {source.annotations: _check(source, root, args.json) for source in sources}
    others = {file: _check(Source(file, folder), ".", args.json) for file, folder in args.against}
    shared: list[dict[str, Any]] = []
    nearest: dict[str, int] = {}
    for name, own in sets.items():
        for other_name, other in others.items():
            found, smallest = check.leaks(own.fingerprints, other.fingerprints)
            nearest[f"{name} - {other_name}"] = smallest
            shared += [{"set": name, "against": other_name, **dataclasses.asdict(leak)} for leak in found]
    well = not shared and not any(one.problems for one in (*sets.values(), *others.values()))
    report = {
        "well": well,
        "sets": {name: _facts(one) for name, one in {**sets, **others}.items()},
        "shared": shared,
        "smallest_distance": nearest,
        "near": check.NEAR,
    }
    print(json.dumps(report, indent=2) if args.json else "\n".join(_lines(report)))
    return 0 if well else 1


def _check(source: Source, root: str, quiet: bool) -> check.Checked:
    name = Path(source.annotations).name
    return check.check(
        source, root, lambda records: tqdm(list(records), desc=name, unit="picture", disable=quiet or None)
    )


def _facts(one: check.Checked) -> dict[str, Any]:
    names = ("pictures", "people", "keypoints", "problems", "remarks")
    return {name: getattr(one, name) for name in names}


def _lines(report: dict[str, Any]) -> list[str]:
    lines = []
    for name, one in report["sets"].items():
        lines.append(f"{name}: {one['pictures']} pictures, {one['people']} people, {one['keypoints']} keypoints")
        lines += [f"  {text}" for text in (*one["remarks"], *one["problems"][:SHOWN])]
        if len(one["problems"]) > SHOWN:
            lines.append(f"  and {len(one['problems']) - SHOWN} more (--json lists them)")
    for leak in report["shared"]:
        how = "same id" if leak["same_id"] else "looks the same"
        lines.append(f"SHARED: {leak['train']} and {leak['evaluation']} ({how}, {leak['distance']} of 63 bits differ)")
    for pair, bits in report["smallest_distance"].items():
        lines.append(f"{pair}: nearest two pictures differ in {bits} of 63 bits (copies: at most {report['near']})")
    lines.append("all is well" if report["well"] else "NOT well")
    return lines
