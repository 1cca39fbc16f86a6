"""`boir-eval`, also `boir-train eval`: measure a bundle or a checkpoint on annotated pictures."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from boir_sdk import image
from boir_sdk.cli.files import write_atomic
from boir_sdk.cli.interrupt import INTERRUPTED, command, graceful
from boir_sdk.errors import BoirError, DataError, InputError
from boir_train import bootstrap, subject
from boir_train.cli.numbers import positive
from boir_train.evaluation import (
    MAX_DETECTIONS,
    Evaluation,
    annotation_file,
    evaluate,
    load_pictures,
    picture_files,
    protocol_skeleton,
)
from boir_train.joint_scores import joint_scores
from boir_train.threshold import best_threshold

DESCRIPTION = """\
Measure keypoint AP of a bundle or a checkpoint on annotated pictures.

All pictures of the annotation file are read (EXIF orientation ignored, as the protocols want), the people found in
them are compared with the annotated ones, and AP with its relatives is written with everything needed to repeat it.
Numbers are fractions, 0 to 1; -1 means that the pictures hold nobody of that kind. `interval_95` is how far AP would
move with another choice of pictures of the same sort: a few hundred pictures leave several points.
`best_score_threshold` is the score that gives the highest F1 at OKS 0.5, `cautious_score_threshold` the highest F0.5,
for which a false person is worse than a missed one (bundles take that): choose it on pictures that are neither trained
on nor reported. `keypoint_scores` compares the scores of found people's joints that are visible, hidden and absent.

A file that lists pictures without annotations (COCO test-dev) gives no numbers: --detections writes the results that
COCO's evaluation server takes.
"""

CAUTION = 0.5  # beta of the cautious threshold

EPILOG = """\
examples:
  boir-eval --model default --annotations person_keypoints_val2017.json --images val2017 --json default.json
  boir-eval --model run/final.safetensors --annotations crowdpose_test.json --images crowdpose/images \\
      --dataset crowdpose --flip --json crowdpose.json --detections crowdpose-poses.json
  boir-eval --model w32.safetensors --device cuda --flip --annotations image_info_test-dev2017.json --images test2017 \\
      --detections keypoints_cocotestdev_results.json --json coco_w32_testdev.json
  boir-eval --model my-bundle --precision int8 --limit 50 --annotations val.json --images val --json quick.json

exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted (nothing is written)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; also gives `parser` the description and examples."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", required=True, help="'default', 'small', a bundle's folder or a checkpoint's file")
    parser.add_argument("--annotations", required=True, type=Path, metavar="FILE", help="COCO-style keypoint JSON")
    parser.add_argument("--images", required=True, type=Path, metavar="DIR", help="folder of the pictures")
    parser.add_argument("--json", required=True, type=Path, metavar="OUT", help="where to write the numbers")
    parser.add_argument("--detections", type=Path, metavar="OUT", help="also write the people found, as COCO results")
    parser.add_argument(
        "--dataset", choices=("coco", "crowdpose", "ochuman"), help="protocol; default: by the model's skeleton"
    )
    parser.add_argument("--preset", help="of a checkpoint that doesn't show it: w32, w48, nano, nano-pure, small")
    parser.add_argument("--flip", action="store_true", help="also look at the mirrored picture (the papers do)")
    parser.add_argument(
        "--second-look",
        action=argparse.BooleanOptionalAction,
        help="look at pictures in half size too, for large people (default: as the model is made for)",
    )
    parser.add_argument("--size", type=positive, metavar="PX", help="network size; default: the model's own")
    parser.add_argument("--precision", metavar="P", help="of a bundle: fp32, fp16, int8, bf16; default: its own")
    parser.add_argument(
        "--device", metavar="D", help="to compute on; default: the CPU. A checkpoint's: cpu, cuda, cuda:1"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N pictures of the file")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads")


def run(args: argparse.Namespace) -> int:
    """Measure as the parsed options say; returns the exit code.

    Raises:
        BoirError: the user can mend it; the message says how.
    """
    options = subject.Options(
        size=args.size,
        precision=args.precision,
        device=args.device,
        flip=args.flip,
        second_look=args.second_look,
        threads=args.threads,
        preset=args.preset,
        dataset=args.dataset,
    )
    for output in (args.json, args.detections):
        if output is not None and output.is_dir():
            raise InputError(f"{output} is a folder: name a file to write to")
    with graceful() as stop, subject.opened(args.model, options) as measured:
        annotations, judged = load_pictures(args.annotations, measured.dataset)
        if not judged and args.detections is None:
            raise InputError(f"{args.annotations} has no annotations to measure by: write the results by --detections")
        pictures = picture_files(annotations["images"][: args.limit], args.images)
        if not pictures:
            raise DataError(f"{args.annotations} lists no pictures")
        detections: list[dict[str, Any]] = []
        images = (image.read(path, exif=False) for _, path in pictures)
        found = zip(pictures, measured.poses_of(images), strict=True)
        for done, ((image_id, _), poses) in enumerate(tqdm(found, total=len(pictures), unit="picture"), start=1):
            detections += poses.to_coco(image_id)
            if stop.is_set() and done < len(pictures):
                print(f"interrupted after {done} of {len(pictures)} pictures; nothing was written", file=sys.stderr)
                return INTERRUPTED
        settings = measured.settings()
    report = _report(args, measured, settings, len(pictures), len(detections))
    if judged:
        images = [image_id for image_id, _ in pictures]
        report = {**_figures(evaluate(annotations, detections, measured.dataset, image_ids=images)), **report}
        if measured.dataset != "crowdpose":  # its people have no area
            report["keypoint_scores"] = joint_scores(annotations, detections, protocol_skeleton(measured.dataset))
    if args.detections is not None:
        write_atomic(args.detections, json.dumps(detections).encode())
    write_atomic(args.json, (json.dumps({"unit": "fraction", **report}, indent=2, default=str) + "\n").encode())
    print("\n".join(_table(report) if judged else _submission(report, args.detections)))
    return 0


def _figures(result: Evaluation) -> dict[str, Any]:
    """What was measured."""
    low, high = bootstrap.interval(result.matches)
    threshold, cautious = best_threshold(result.matches), best_threshold(result.matches, CAUTION)
    return {
        **result.stats,
        "interval_95": [low, high],
        "people": result.people,
        "best_score_threshold": None if threshold is None else dataclasses.asdict(threshold),
        "cautious_score_threshold": None if cautious is None else dataclasses.asdict(cautious),
    }


def _report(
    args: argparse.Namespace, measured: subject.Subject, settings: dict[str, Any], pictures: int, found: int
) -> dict[str, Any]:
    """What repeats a run."""
    return {
        "images": pictures,
        "detections": found,
        "protocol": {
            "dataset": measured.dataset,
            "annotations": str(args.annotations),
            "annotations_sha256": subject.sha256_of(annotation_file(args.annotations)),
            "limit": args.limit,
            "detections_per_image": MAX_DETECTIONS,
            "exif": "ignored",
            **settings,
        },
        "model": measured.model,
        "versions": subject.versions(),
    }


def _submission(report: dict[str, Any], written: Path) -> Iterator[str]:
    """What to do with results that can't be measured here."""
    yield f"{report['images']} pictures, {report['detections']} people found; without annotations nothing is measured:"
    yield f"  submit {written} to the data set's evaluation server, and add its figures to the file of --json"


def _table(report: dict[str, Any]) -> Iterator[str]:
    """The numbers for a reader, in per cent."""
    low, high = report["interval_95"]
    yield f"{report['protocol']['dataset']}, {report['images']} pictures, {report['people']} people (per cent)"
    for name, value in report.items():
        if name.startswith(("AP", "AR")):
            shown = "   -" if value < 0 else f"{100 * value:5.1f}"
            yield f"  {name:<10}{shown}" + (f"   (95 %: {100 * low:.1f} to {100 * high:.1f})" if name == "AP" else "")


def main(argv: Sequence[str] | None = None) -> int:
    """The `boir-eval` command; returns its exit code."""
    return command(lambda: answer(argv), "boir-eval: interrupted; nothing was written", whole_process=argv is None)


def answer(argv: Sequence[str] | None) -> int:
    """Do the command's work where signals are somebody else's matter; return its exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in boir_train.cli.main
    parser = argparse.ArgumentParser(prog="boir-eval")
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return run(args)
    except BoirError as error:
        print(f"boir-eval: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
