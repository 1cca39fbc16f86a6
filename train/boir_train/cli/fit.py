"""`boir-train fit`: train a model as a configuration says."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch
from torch import nn

from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import get_skeleton
from boir_train import build_model, checkpoint, config, snapshot
from boir_train.config import Config
from boir_train.data import datasets
from boir_train.data.datasets import Picture
from boir_train.data.loader import EpochSampler, SampleSettings, make_loader
from boir_train.data.split import ground_truth, hold_out
from boir_train.distributed import ranks
from boir_train.model import nano_start
from boir_train.trainer import train
from boir_train.validation import Validation

RESOLVED = "config.yaml"
HELD_OUT = "held_out.json"
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
    torch.manual_seed(settings.train.seed)
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)
    if arguments.evaluate_only:
        return _evaluate_only(settings)
    if arguments.out is None:
        raise ConfigError("--out RUN is missing: the folder that the run is written to")
    folder: Path = arguments.out
    if (folder / snapshot.FILE).exists() and not arguments.resume:
        raise ConfigError(f"{folder} already holds a run: add --resume to go on with it, or name another folder")
    if not settings.data.train:
        raise ConfigError("data.train is empty: this configuration is for evaluation only (--evaluate-only)")
    pictures, held = _data(settings)
    validation = _validation(settings, held) if settings.eval.every else None
    log.info("%d pictures, %d people to train on", len(pictures), sum(len(picture.boxes) for picture in pictures))
    with ranks(settings.train.device) as here:
        model = _model(settings)
        sampler = EpochSampler(
            len(pictures),
            settings.train.batch_size,
            settings.data.sizes,
            seed=settings.train.seed,
            rank=here.rank,
            world=here.world,
        )
        loader = make_loader(
            pictures,
            SampleSettings(
                skeleton=get_skeleton(settings.model.skeleton),
                mean=model.settings.mean,
                std=model.settings.std,
                augment=settings.augment,
                min_area=settings.data.min_area,
                box_clip=settings.data.box_clip,
                centre=settings.data.centre,
                width=settings.data.width,
                ignore_unlabelled=settings.data.ignore_unlabelled,
            ),
            sampler,
            workers=settings.data.workers,
            cache_mb=settings.data.cache_mb,
            pin_memory=here.device.type == "cuda",
        )
        if here.first:
            folder.mkdir(parents=True, exist_ok=True)
            config.dump(settings, folder / RESOLVED)
            if held:
                truth = ground_truth(held, settings.data.train, settings.data.root)
                write_atomic(folder / HELD_OUT, json.dumps(truth).encode())
        here.wait()
        outcome = train(model, loader, sampler, settings, folder, here, evaluate=validation, resume=arguments.resume)
    log.info("%s: %s", folder, outcome)
    return 130 if outcome == "interrupted" else 0


def _settings(arguments: argparse.Namespace) -> Config:
    name = arguments.config
    if name is None and arguments.resume and arguments.out is not None:
        name = str(arguments.out / RESOLVED)
    if name is None:
        raise ConfigError(f"--config is missing: a file or one of {', '.join(config.names())}")
    return config.load(name, arguments.overrides)


def _data(settings: Config) -> tuple[list[Picture], list[Picture]]:
    """Return the pictures to train on and those held out of them."""
    data = settings.data
    pictures = datasets.load(data.train, get_skeleton(settings.model.skeleton), data.rules, data.root)
    return hold_out(pictures, settings.eval.hold_out)


def _validation(settings: Config, held: list[Picture]) -> Validation:
    data, judge = settings.data, settings.eval
    if not judge.hold_out:
        return Validation.of_files(judge, data.root)
    paths = {picture.image_id: picture.path for picture in held}
    return Validation(ground_truth(held, data.train, data.root), paths, judge)


def _model(settings: Config) -> nn.Module:
    """Build the training form with the start weights that the configuration names."""
    wanted = settings.model
    model = build_model(wanted.preset, wanted.skeleton, training=True, init=wanted.init)
    if wanted.start == "scratch" or wanted.weights is None:
        return model
    backbone = nano_start.load_start if wanted.preset == "nano" else checkpoint.load_backbone
    fill = {"backbone": backbone, "checkpoint": checkpoint.load, "transfer": checkpoint.transfer}
    log.info("start weights: %s", fill[wanted.start](model, wanted.weights))
    return model


def _evaluate_only(settings: Config) -> int:
    held = _data(settings)[1] if settings.eval.hold_out else []
    validation = _validation(settings, held)
    with ranks(settings.train.device) as here, torch.inference_mode():
        for name, value in validation(_model(settings).to(here.device).eval()).items():
            print(f"{name:10} {value:.4f}")
    return 0
