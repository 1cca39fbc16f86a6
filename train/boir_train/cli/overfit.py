"""`boir-train overfit`: prove that a model can learn."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from pathlib import Path

from boir_sdk.cli.files import write_atomic
from boir_train import config, overfit
from boir_train.data.datasets import Source

DESCRIPTION = """\
Learn a few pictures by heart and measure AP on those same pictures. It says nothing about how good a model is; it says
whether annotations, targets, losses, heads, decoding and evaluation fit together. A run that stays under the goal has
a defect somewhere (or too few steps). Pictures are the first of the set with few, large and well annotated people; for
another skeleton than coco17 the joints of the same name are taken, the others are judged nowhere.
"""
EPILOG = """\
examples:
  boir-train overfit --annotations data/coco/person_keypoints_train.json --images data/coco/train --out runs/overfit
  boir-train overfit --skeleton crowdpose14 --annotations person_keypoints_train.json --images train --out runs/o14
  boir-train overfit --config coco_w32 --set train.device=cuda model.start=scratch model.weights=null \\
      --annotations annotations/person_keypoints_val2017.json --images val2017 --size 256 --steps 2000 --out runs/o32

OUT holds what a training run holds, pictures.json (the chosen pictures) and overfit.json (the result). A run that was
stopped goes on when it is started again with the same arguments.
exit codes: 0 the goal was reached, 1 it wasn't, or an error, 2 wrong usage, 130 interrupted
"""
REPORT = "overfit.json"

log = logging.getLogger("boir_train.overfit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--annotations", required=True, metavar="FILE", help="COCO keypoint JSON")
    parser.add_argument("--images", required=True, metavar="DIR", help="its pictures")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="folder of the run")
    parser.add_argument("--config", default="nano", metavar="NAME|FILE", help="model, start and rate (nano)")
    parser.add_argument("--skeleton", choices=("coco17", "crowdpose14"), default="coco17", help="of the model (coco17)")
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="how many (8)")
    parser.add_argument("--size", type=int, default=256, metavar="PX", help="network side (256)")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="training steps (300)")
    parser.add_argument("--goal", type=float, default=0.9, metavar="AP", help="to be exceeded (0.9)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the configuration, for example model.weights=FILE or optim.lr=1e-3",
    )
    parser.add_argument("--json", action="store_true", help="print overfit.json instead of a sentence")


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 above the goal, 1 below, 130 when a signal stopped it.

    Raises:
        BoirError: configuration, data or weights can't be used, or a loss isn't finite.
    """
    everything = {"multi_heatmap": 1, "single_heatmap": 4, "bbox_mask": 0.25, "bbox": 0.25}
    overrides = [f"loss.{name}={weight}" for name, weight in everything.items()]
    base = config.load(args.config, [*overrides, f"model.skeleton={args.skeleton}", *args.overrides])
    annotations = overfit.prepare(Source(args.annotations, args.images), args.out, args.skeleton, args.pictures)
    settings = overfit.settings_for(
        base, annotations, args.images, count=args.pictures, size=args.size, steps=args.steps
    )
    result = overfit.run(config.parse(config.as_dict(settings)), args.out)
    if result.outcome == "interrupted":
        log.info("stopped after %d steps, AP %.3f; start it again to go on", result.steps, result.after["AP"])
        return 130
    reached = result.after["AP"] > args.goal
    report = {"goal": args.goal, "reached": reached, "size": args.size, **dataclasses.asdict(result)}
    text = json.dumps(report, indent=2)
    write_atomic(args.out / REPORT, (text + "\n").encode())
    if args.json:
        print(text)
    else:
        print(
            f"AP {result.before['AP']:.3f} before, {result.after['AP']:.3f} after {result.steps} steps on "
            f"{len(result.pictures)} pictures with {result.people} people ({result.seconds:.0f} s): "
            + ("it learns" if reached else f"NOT above {args.goal:g}")
        )
    return 0 if reached else 1
