"""`boir-train fit`: train a model as a configuration says."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from boir_sdk.errors import ConfigError
from boir_train import config, snapshot
from boir_train.config import Config
from boir_train.distributed import ranks
from boir_train.fit import RESOLVED, fit, make_model, make_validation, seed

EXAMPLE = """\
example:
  boir-train fit --config nano --set data.root=/data/coco --set train.max_minutes=60 --out runs/nano
  boir-train fit --out runs/nano --resume                  # go on after Ctrl-C, SIGTERM or a crash
  torchrun --nproc-per-node 4 --module boir_train.cli.main fit --config coco_w32 --out runs/w32

RUN holds config.yaml (resolved), held_out.json (annotations of the pictures kept for evaluation), log.jsonl, last.pt
(to resume), best.safetensors (highest AP of the evaluations) and final.safetensors. On a Linux CPU,
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 in the environment keep the C library from giving memory back
after every step, which can cost half the time.

Exit code: 0 done, 1 error, 2 usage, 130 stopped by a signal (the step was finished and saved).
"""

log = logging.getLogger("boir_train.fit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments on `parser`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Train a model. Configurations of the package: " + ", ".join(config.names()) + "."
    parser.epilog = EXAMPLE
    parser.add_argument("--config", metavar="NAME|FILE", help="configuration; with --resume the run's own by default")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a value, for example optim.lr=1e-4 or 'data.sizes=[256,384]'",
    )
    parser.add_argument("--out", metavar="RUN", type=Path, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from RUN/last.pt if it is there")
    parser.add_argument("--evaluate-only", action="store_true", help="print the start weights' figures and stop")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; 0 when done, 130 when a signal stopped it.

    Raises:
        BoirError: configuration, data or weights can't be used.
    """
    settings = _settings(arguments)
    if arguments.evaluate_only:
        seed(settings)
        return _evaluate_only(settings)
    if arguments.out is None:
        raise ConfigError("--out RUN is missing: the folder that the run is written to")
    folder: Path = arguments.out
    if (folder / snapshot.FILE).exists() and not arguments.resume:
        raise ConfigError(f"{folder} already holds a run: add --resume to go on with it, or name another folder")
    outcome = fit(settings, folder, resume=arguments.resume)
    log.info("%s: %s", folder, outcome)
    return 130 if outcome == "interrupted" else 0


def _settings(arguments: argparse.Namespace) -> Config:
    name = arguments.config
    if name is None and arguments.resume and arguments.out is not None:
        name = str(arguments.out / RESOLVED)
    if name is None:
        raise ConfigError(f"--config is missing: a file or one of {', '.join(config.names())}")
    return config.load(name, arguments.overrides)


def _evaluate_only(settings: Config) -> int:
    validation = make_validation(settings)
    with ranks(settings.train.device) as here, torch.inference_mode():
        for name, value in validation(make_model(settings).to(here.device).eval()).items():
            print(f"{name:10} {value:.4f}")
    return 0
