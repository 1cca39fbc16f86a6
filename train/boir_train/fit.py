"""From a configuration to a trained model: data, loader, start weights, validation, loop."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from boir_sdk import durable
from boir_sdk.cli.files import write_atomic
from boir_sdk.errors import CheckpointError, ConfigError
from boir_sdk.skeleton import get_skeleton
from boir_train import build_model, checkpoint, config
from boir_train.config import Config
from boir_train.data import datasets
from boir_train.data.datasets import Picture
from boir_train.data.loader import Batch, EpochSampler, SampleSettings, make_loader
from boir_train.data.split import ground_truth, hold_out
from boir_train.distributed import Ranks, ranks
from boir_train.downloads import hint
from boir_train.model import nano_start
from boir_train.model.nano import Nano
from boir_train.model.settings import ModelSettings
from boir_train.teacher import Teacher
from boir_train.trainer import Outcome, train
from boir_train.validation import Validation

RESOLVED = "config.yaml"
HELD_OUT = "held_out.json"

log = logging.getLogger("boir_train.fit")


@dataclass(frozen=True, slots=True)
class Data:
    """What a run learns from and is judged by.

    Attributes:
        pictures: to train on.
        held: kept out of them.
        truth: COCO-style annotations of `held`, None when nothing is held out.
    """

    pictures: list[Picture]
    held: list[Picture]
    truth: Mapping[str, Any] | None


def fit(settings: Config, folder: Path, *, resume: bool = False) -> Outcome:
    """Train as `settings` say and leave everything in `folder`, which is made; under torchrun on all its ranks.

    Returns:
        What `trainer.train` returns.

    Raises:
        BoirError: configuration, data or weights can't be used, or a loss isn't finite.
    """
    if not settings.data.train:
        raise ConfigError("data.train is empty: this configuration is for evaluation only (--evaluate-only)")
    seed(settings)
    data = read(settings)
    validation = make_validation(settings, data) if settings.eval.every else None
    people = sum(len(picture.boxes) for picture in data.pictures)
    log.info("%d pictures, %d people to train on", len(data.pictures), people)
    with ranks(settings.train.device) as here:
        model = make_model(settings)
        loader, sampler = make_batches(settings, data.pictures, model.settings, here)
        if here.first:
            config.dump(settings, folder / RESOLVED)
            durable.sweep(folder)
            if data.truth is not None:
                write_atomic(folder / HELD_OUT, json.dumps(data.truth).encode())
        here.wait()
        teacher = make_teacher(settings, here.device)
        return train(
            model, loader, sampler, settings, folder, here, evaluate=validation, teacher=teacher, resume=resume
        )


def seed(settings: Config) -> None:
    """Seed what is drawn from PyTorch's generator, and take as many threads as asked for."""
    torch.manual_seed(settings.train.seed)
    if settings.train.threads:
        torch.set_num_threads(settings.train.threads)


def read(settings: Config) -> Data:
    """Read the annotations of a run.

    Raises:
        DataError: a file is missing or malformed.
        ConfigError: more is to be held out than there is.
    """
    data = settings.data
    every = datasets.load(
        data.train,
        get_skeleton(settings.model.skeleton),
        data.rules,
        data.root,
        outlines=settings.augment.paste > 0,
    )
    pictures, held = hold_out(every, settings.eval.hold_out)
    return Data(pictures, held, ground_truth(held, data.train, data.root) if held else None)


def make_validation(settings: Config, data: Data | None = None) -> Validation:
    """Make what measures AP, on the held-out pictures of `data` or on the files that `settings.eval` names.

    Raises:
        DataError: a file is missing or malformed.
    """
    if not settings.eval.hold_out:
        return Validation.of_files(settings.eval, settings.data.root)
    data = data or read(settings)
    paths = {picture.image_id: picture.path for picture in data.held}
    return Validation(data.truth or {}, paths, settings.eval)


def make_model(settings: Config) -> nn.Module:
    """Build the training form with the start weights that the configuration names.

    Raises:
        CheckpointError: they are missing, don't fit, or leave a part of the backbone unfilled.
    """
    wanted = settings.model
    model = build_model(wanted.preset, wanted.skeleton, training=True, init=wanted.init)
    if wanted.start == "scratch" or wanted.weights is None:
        return model
    if not Path(wanted.weights).is_file():
        raise CheckpointError(f"no start weights at {wanted.weights}: set model.weights{hint(wanted.weights)}")
    fill = {
        "backbone": _load_backbone,
        "checkpoint": checkpoint.load,
        "deployed": checkpoint.load_deployed,
        "transfer": checkpoint.transfer,
    }
    log.info("start weights: %s", fill[wanted.start](model, wanted.weights))
    return model


def make_teacher(settings: Config, device: torch.device) -> Teacher | None:
    """Build the network that gives the soft targets, if the run has one.

    Raises:
        CheckpointError: its weights are missing or don't fit.
        ConfigError: the network can't teach.
    """
    wanted = settings.model
    if wanted.teacher is None:
        return None
    if not Path(wanted.teacher).is_file():
        raise CheckpointError(f"no weights of a teacher at {wanted.teacher}: set model.teacher")
    state = checkpoint.read(wanted.teacher)
    preset, skeleton = checkpoint.identify(state)
    if skeleton != wanted.skeleton:
        raise ConfigError(
            f"model.teacher: {wanted.teacher} knows {skeleton}, the network that learns {wanted.skeleton}"
        )
    model = build_model(preset, skeleton)
    log.info("teacher: %s, %s", preset, checkpoint.fill(model, state, wanted.teacher))
    return Teacher(model, device, mirror=wanted.teacher_mirror)


def load_own(model: nn.Module, file: Path) -> None:
    """Fill the training form with the weights that a run of it left, whatever network it is.

    Raises:
        CheckpointError: the file can't be read or is of another network.
    """
    try:
        model.load_state_dict(checkpoint.read(file))
    except RuntimeError as error:
        raise CheckpointError(f"{file} isn't of this network: {error}") from error


def make_batches(
    settings: Config, pictures: list[Picture], model: ModelSettings, here: Ranks
) -> tuple[DataLoader[Batch], EpochSampler]:
    """Make the loader of a run and the sampler that orders it."""
    data = settings.data
    sampler = EpochSampler(
        len(pictures),
        settings.train.batch_size,
        data.sizes,
        seed=settings.train.seed,
        rank=here.rank,
        world=here.world,
    )
    samples = SampleSettings(
        skeleton=get_skeleton(settings.model.skeleton),
        mean=model.mean,
        std=model.std,
        augment=settings.augment,
        min_area=data.min_area,
        box_clip=data.box_clip,
        centre=data.centre,
        width=data.width,
        ignore_unlabelled=data.ignore_unlabelled,
        absent=data.absent,
        reach=data.reach,
    )
    loader = make_loader(
        pictures,
        samples,
        sampler,
        workers=data.workers,
        cache_mb=data.cache_mb,
        pin_memory=here.device.type == "cuda",
    )
    return loader, sampler


def _load_backbone(model: nn.Module, path: str) -> object:
    """Fill the whole backbone: a part that kept its random start would be found out by a bad AP only (T3.7, T7.5)."""
    if isinstance(model, Nano):
        if model.second is not None:
            raise CheckpointError(
                f"{path} can't start {model.settings.preset}, which has a second trunk: put its start together with "
                "boir-train start, and set model.start=deployed"
            )
        return nano_start.load_start(model, path)
    report = checkpoint.load_backbone(model, path)
    # Step counters are absent from files of older PyTorch, and count nothing that matters here.
    unfilled = [name for name in report.kept if not name.endswith(checkpoint.COUNTER)]
    if unfilled:
        raise CheckpointError(
            f"{path} fills {report.loaded} of the backbone's {report.total} tensors; missing are {unfilled[0]!r} and "
            f"{len(unfilled) - 1} more: fetch the complete ImageNet classifier of {model.settings.preset} "
            "(HRNet-W32-C or HRNet-W48-C of the HRNet authors) and name it in model.weights"
        )
    return report
