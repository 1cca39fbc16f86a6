"""`boir-train ablation`: train variants with several seeds and report AP with its spread."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError
from boir_train import ablation, ablation_report, config
from boir_train.ablation import TABLE4, Arm

DESCRIPTION = """\
Train the variants of the paper's table 4 (embedding loss off and on, box head off and on; then the loss' paper form
against the form of the released code, level 1), each with the same seeds, samples and budget, and report every run's
AP, means with their spread, and the differences within a seed. Every run is measured once, at its end, on the
configuration's evaluation pictures.
"""
EPILOG = """\
examples:
  boir-train ablation --config coco_w32 --seeds 0 1 2 --out runs/table4                    (weeks of GPUs)
  boir-train ablation --config nano --set data.root=data/coco 'data.sizes=[128]' schedule.iterations=80 \\
      eval.hold_out=0 eval.annotations=person_keypoints_val.json eval.images=val eval.size=128 \\
      --out runs/ablation --minutes 40
  boir-train ablation --config coco_w32 --arm "beta 10" loss.beta=10 --arm "beta 1" loss.beta=1 --out runs/beta

OUT gets a folder a run, ablation.json and ablation.md (renewed after each run). Runs that are done are left out and one
that was stopped goes on when the command is started again. With --arm all others are compared with the first arm.
exit codes: 0 all runs are done, 1 an error, or --minutes was over before, 2 wrong usage, 130 interrupted
"""
REPORT, TABLE = "ablation.json", "ablation.md"

log = logging.getLogger("boir_train.ablation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--config", required=True, metavar="NAME|FILE", help="what all variants have in common")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of it, for all variants",
    )
    parser.add_argument(
        "--arm",
        dest="arms",
        action="append",
        nargs="+",
        default=[],
        metavar=("NAME", "KEY=VALUE"),
        help="a variant instead of those of table 4; repeatable",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="(0 1 2)")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT", help="folder of the runs and the report")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="of this start (no limit)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when all runs are done, 1 when the time was over before, 130 after a signal.

    Raises:
        BoirError: configuration, data or weights can't be used, or a loss isn't finite.
    """
    arms, seeds = _arms(args), list(dict.fromkeys(args.seeds))
    settings = config.load(args.config, [*args.overrides, "eval.every=0"])
    if not settings.eval.hold_out and not (settings.eval.annotations and settings.eval.images):
        raise ConfigError("name the pictures to measure on: eval.annotations and eval.images, or eval.hold_out")
    setup = {
        "configuration": f"{args.config} {' '.join(args.overrides)}".strip(),
        "steps": settings.schedule.iterations or f"{settings.schedule.epochs} epochs",
        "pictures a step": settings.train.batch_size * settings.optim.accumulate,
        "sides": ", ".join(map(str, settings.data.sizes)),
        "seeds": ", ".join(map(str, seeds)),
        "protocol": settings.eval.protocol + (", flip test" if settings.eval.flip_test else ", no flip test"),
        "evaluated on": settings.eval.annotations or f"{settings.eval.hold_out} held-out pictures",
    }
    args.out.mkdir(parents=True, exist_ok=True)

    def write(runs: list[ablation.Run]) -> dict[str, Any]:
        report = {"setup": setup, **ablation_report.summarise(arms, runs, len(arms) * len(seeds))}
        write_atomic(args.out / REPORT, (json.dumps(report, indent=2) + "\n").encode())
        write_atomic(args.out / TABLE, ablation_report.markdown(report).encode())
        return report

    runs, interrupted = ablation.train_all(
        args.config, args.overrides, arms, seeds, args.out, minutes=args.minutes, after_each=write
    )
    report = write(runs)
    print(json.dumps(report, indent=2) if args.json else ablation_report.markdown(report), end="")
    if interrupted:
        return 130
    if report["done"] < report["planned"]:
        log.warning("the time is over: start the same command again to go on")
        return 1
    return 0


def _arms(args: argparse.Namespace) -> tuple[Arm, ...]:
    if not args.arms:
        return TABLE4
    names = [name for name, *_ in args.arms]
    if len(set(names)) < len(names):
        raise ConfigError("two --arm have the same name: their runs would share a folder")
    return tuple(
        Arm(name, tuple(overrides), names[0] if index else None) for index, (name, *overrides) in enumerate(args.arms)
    )
