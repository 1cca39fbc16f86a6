"""`boir-train speed`: what training costs on the machine at hand."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from boir_sdk.cli.files import write_atomic
from boir_train import config, fit, loss_speed, speed

DESCRIPTION = """\
Measure what training costs here. `step`: pictures a second of the loader alone, of the step alone (the same batch again
and again) and of both together; which share of the time the loop waits for the loader; memory; and how the step's time
compares with its arithmetic at the rate of large matrix products (the floor). `losses`: the vectorised losses beside
plain loops over cells and people, forward and backward, with the differences of values and gradients.
"""
EPILOG = """\
examples:
  boir-train speed step --config nano --size 256 --set data.root=data/coco --json nano-256.json
  boir-train speed step --config coco_w32 --size 512 --batch 1 --steps 3 \\
      --set 'data.train=[{annotations: person_keypoints_train.json, images: train}]' optim.amp=bf16 train.device=cpu
  boir-train speed losses --side 32 --people 4

Wall times mean something on a quiet machine only; the figures "in processor time" bear other work beside it.
exit codes: 0 done, 1 failed (the message says why: a loss that isn't finite, say), 2 wrong usage, 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's tasks and their arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    step = tasks.add_parser("step", help="loader, step, memory and floor of one configuration")
    step.add_argument("--config", required=True, metavar="NAME|FILE", help="what is trained; start weights aren't read")
    step.add_argument("--size", type=_positive, metavar="PX", help="network side (the configuration's first)")
    step.add_argument("--batch", type=_positive, metavar="N", help="pictures a step (the configuration's)")
    step.add_argument("--steps", type=_positive, default=8, metavar="N", help="measured steps of each loop (8)")
    step.add_argument("--batches", type=_positive, default=8, metavar="N", help="measured of the loader alone (8)")
    step.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the configuration",
    )
    losses = tasks.add_parser("losses", help="vectorised losses beside plain loops")
    losses.add_argument("--side", type=_positive, default=32, metavar="CELLS", help="of the maps (32)")
    losses.add_argument("--people", type=_positive, default=4, metavar="N", help="a picture (4)")
    for task in (step, losses):
        task.add_argument("--json", type=Path, metavar="OUT", help="write the figures there as well")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0.

    Raises:
        BoirError: configuration or data can't be used, a loss isn't finite, or the report can't be written.
        KeyboardInterrupt: a signal came.
    """
    report: dict[str, Any] = {"machine": platform.machine(), "torch": torch.__version__, "cpus": os.cpu_count()}
    if args.task == "losses":
        rows = loss_speed.measure(args.side, args.people)
        report["losses"] = [{**dataclasses.asdict(row), "faster": row.plain_s / row.vectorised_s} for row in rows]
        lines = _loss_lines(rows)
    else:
        overrides = list(args.overrides)
        overrides += [f"data.sizes=[{args.size}]"] if args.size else []
        overrides += [f"train.batch_size={args.batch}"] if args.batch else []
        settings = config.load(args.config, [*overrides, "eval.every=0", "eval.hold_out=0"])
        figures = speed.measure(settings, fit.read(settings).pictures, args.steps, args.batches)
        report |= figures
        lines = _step_lines(figures)
    if args.json:
        write_atomic(args.json, (json.dumps(report, indent=2) + "\n").encode())
    tqdm.write("\n".join(lines))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _loss_lines(rows: list[loss_speed.Row]) -> list[str]:
    lines = [
        "| loss | map | people | vectorised, ms | plain loop, ms | times faster | value differs | gradient differs |",
        f"|{' --- |' * 8}",
    ]
    for row in rows:
        shape = " x ".join(map(str, row.shape))
        times = f"{1e3 * row.vectorised_s:.2f} | {1e3 * row.plain_s:.0f} | {row.plain_s / row.vectorised_s:.0f}"
        differences = f"{row.value_difference:.1e} | {row.gradient_difference:.1e}"
        lines.append(f"| {row.name} | {shape} | {row.people} | {times} | {differences} |")
    return lines


def _step_lines(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['preset']} at {one['side']}, {one['pictures_a_step']} pictures a step with {one['people_in_the_step']} "
        f"people, {one['device']}, {one['threads']} threads, amp {one['amp']}",
        f"  pictures a second: loader alone {one['loader_pictures_per_s']:.2f} ({one['workers']} workers), step alone "
        f"{one['step_pictures_per_s']:.2f}, both {one['both_pictures_per_s']:.2f}",
        f"  the loop waits for the loader {100 * one['loader_share']:.1f} % of its time",
        f"  a step: {one['step_s']:.3f} s by the clock, {one['step_cpu_s']:.3f} s of processor time, "
        f"{one['step_gflop']:.1f} GFLOP",
        f"  floor: {one['floor_gflop_per_s']:.1f} GFLOP/s, so {one['floor_s']:.3f} s; the step takes "
        f"{one['times_the_floor']:.2f} times that ({one['times_the_floor_in_cpu_s']:.2f} in processor time)",
        f"  memory: {one['memory_peak_mb']:.0f} MB at most, {one['memory_before_mb']:.0f} MB before the model",
        f"  losses: {', '.join(f'{value:.4g}' for value in one['losses'])}",
    ]
