"""What an evaluation measures: a bundle or a checkpoint, made into one function from pictures to poses."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from boir_sdk import bundle as bundles
from boir_sdk import looks
from boir_sdk.errors import ConfigError, InputError
from boir_sdk.poses import Poses
from boir_sdk.skeleton import Skeleton, get_skeleton
from boir_train import downloads

if TYPE_CHECKING:
    import torch
    from torch import nn

Dataset = Literal["coco", "crowdpose", "ochuman"]
PosesOf = Callable[[Iterable[np.ndarray]], Iterator[Poses]]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run what is measured; None leaves the choice to the model.

    Attributes:
        size: network size, pixels.
        precision: bundle only: which of its precisions.
        device: OpenVINO's name for a bundle (its CPU if None), PyTorch's for a checkpoint ("cpu" if None).
        flip: add the mirrored view.
        second_look: look at pictures in half size too; None for what the model is made for.
        threads: of the CPU.
        preset: checkpoint only, where its tensors don't say.
        dataset: "coco", "crowdpose" or "ochuman"; if None it follows from the skeleton.
    """

    size: int | None = None
    precision: str | None = None
    device: str | None = None
    flip: bool = False
    second_look: bool | None = None
    threads: int | None = None
    preset: str | None = None
    dataset: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A model ready to be measured.

    Attributes:
        poses_of: from BGR pictures, one after the other, to the people in each.
        dataset: the protocol to measure by.
        model: what was measured, for the report: kind, path, sha256, preset, skeleton, ...
        settings: tells how it was run, for the report: size, fit rule, precision asked and effective, thresholds.
            To be asked after the run: a bundle's effective precision is known only then.
    """

    poses_of: PosesOf
    dataset: str
    model: dict[str, Any]
    settings: Callable[[], dict[str, Any]]


@contextmanager
def opened(model: str, options: Options) -> Iterator[Subject]:
    """Open a model for the length of a `with` block.

    Args:
        model: "default", "small", a bundle's folder, or a checkpoint's file.
        options: how to run it.

    Raises:
        InputError: nothing is there.
        BundleError, CheckpointError: what is there can't be used.
        ConfigError: an option doesn't fit the kind of model, or the data set doesn't fit its skeleton.
    """
    path = Path(model)
    if model in bundles.EMBEDDED or path.is_dir():
        with _bundle(model, options) as subject:
            yield subject
    elif path.is_file():
        yield _checkpoint(path, options)
    else:
        named = ", ".join(map(repr, bundles.EMBEDDED))
        raise InputError(
            f"no model at {model}: give {named}, a bundle's folder or a checkpoint's file{downloads.hint(path)}"
        )


@contextmanager
def _bundle(model: str, options: Options) -> Iterator[Subject]:
    from boir_sdk.estimator import PoseEstimator  # OpenVINO isn't needed for checkpoints, nor torch for bundles

    if options.preset is not None:
        raise ConfigError("--preset is for checkpoints; a bundle knows its own preset")
    estimator = PoseEstimator(
        model,
        device=options.device or "CPU",
        size=options.size,
        precision=None if options.precision is None else options.precision.lower(),
        score_threshold=0.0,
        threads=options.threads,
        flip_test=options.flip,
        second_look=options.second_look,
    )
    with estimator:
        info = estimator.info
        built_for = ("coco", "crowdpose") if info["protocol"] != "ochuman" else ("ochuman",)
        if options.dataset is not None and options.dataset not in built_for:
            raise ConfigError(
                f"the bundle {info['bundle']} was built for the protocol {info['protocol']}, whose smoothing and "
                f"suppression differ from {options.dataset}'s: build it with boir-convert build --protocol "
                f"{options.dataset}"
            )
        yield Subject(
            poses_of=estimator.batch,
            dataset=_dataset(options.dataset or info["protocol"], get_skeleton(info["skeleton"])),
            model={
                "kind": "bundle",
                "path": info["bundle"],
                "sha256": sha256_of(Path(info["bundle"]) / "manifest.json"),
                "name": info["model"],
                "preset": info["preset"],
                "skeleton": info["skeleton"],
            },
            settings=lambda: _bundle_settings(estimator.info),
        )


def _bundle_settings(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "runtime": "openvino",
        "device": info["device"],
        "flip_test": info["flip_test"],
        "second_look": info["second_look"],
        "size": info["size"]["used"],
        "fit_rule": info["size"]["rule"],
        "oks_threshold": info["thresholds"]["oks"],
        "center_threshold": info["thresholds"]["center"],
        "score_threshold": info["thresholds"]["score"],
        "max_people": info["max_people"],
        "precision": info["precision"],
    }


def network(path: Path, preset: str | None, dataset: str | None, device: str) -> tuple[nn.Module, Dataset]:
    """Build and fill the network that a checkpoint holds, in evaluation mode.

    Args:
        path: the checkpoint's file.
        preset: where its tensors don't say.
        dataset: the protocol asked for; if None it follows from the skeleton.
        device: PyTorch's name of it.

    Returns:
        The network and its protocol.

    Raises:
        CheckpointError: what is there can't be used.
        ConfigError: there is no such device, or the data set doesn't fit the skeleton.
        InputError: nothing is there.
    """
    from boir_train import build_model, checkpoint

    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: name a file of weights{downloads.hint(path)}")
    target = torch_device(device)
    state = checkpoint.read(path)
    skeleton = "crowdpose14" if dataset == "crowdpose" else "coco17"
    if preset is None:
        preset, skeleton = checkpoint.identify(state)
    model = build_model(preset, skeleton)
    checkpoint.fill(model, state, path)
    return model.to(target).eval(), _dataset(dataset, model.settings.skeleton)


def _checkpoint(path: Path, options: Options) -> Subject:
    import torch

    from boir_train import inference

    if options.precision is not None and options.precision.lower() != "fp32":
        raise ConfigError(f"--precision {options.precision} is for bundles; a checkpoint runs in fp32")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    model, dataset = network(path, options.preset, options.dataset, options.device or "cpu")
    settings = model.settings
    protocol = inference.get_protocol(dataset)
    size = options.size or settings.default_size
    if options.second_look and not settings.second_look_px:
        raise ConfigError(f"--second-look: {settings.preset} is not made for a second look at a picture")
    second_look = options.second_look
    if second_look is None:
        second_look = looks.by_default(settings.second_look_px, settings.second_look_from, size)

    def poses_of(images: Iterable[np.ndarray]) -> Iterator[Poses]:
        for image in images:
            yield inference.predict(
                model, image, size=options.size, flip_test=options.flip, protocol=dataset, second_look=second_look
            )

    return Subject(
        poses_of=poses_of,
        dataset=dataset,
        model={
            "kind": "checkpoint",
            "path": str(path),
            "sha256": sha256_of(path),
            "preset": settings.preset,
            "skeleton": settings.skeleton.name,
        },
        settings=lambda: {
            "runtime": "torch",
            "device": str(next(model.parameters()).device),
            "flip_test": options.flip,
            "second_look": second_look,
            "size": size,
            "fit_rule": settings.fit_rule,
            "resample": settings.resample,
            "multiple": settings.multiple,
            "pool_kernel": protocol.pool_kernel or settings.pool_kernel,
            "oks_threshold": protocol.oks_threshold,
            "precision": {"asked": options.precision, "effective": "f32"},
        },
    )


def _dataset(asked: str | None, skeleton: Skeleton) -> Dataset:
    """The protocol asked for, or the one of the model's skeleton."""
    fitting = ("crowdpose",) if skeleton.name == "crowdpose14" else ("coco", "ochuman")
    if asked is not None and asked not in fitting:
        raise ConfigError(
            f"--dataset {asked} doesn't fit the model: its skeleton {skeleton.name} is for {' or '.join(fitting)}"
        )
    return asked or fitting[0]


def torch_device(name: str) -> torch.device:
    """PyTorch's device of that name; one without a number is the first.

    Raises:
        ConfigError: there is no such device here.
    """
    from boir_train.distributed import resolve_device

    try:
        return resolve_device(name)
    except ConfigError as error:
        raise ConfigError(f"--device {name}: PyTorch has no such device here; cpu is always there") from error


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of everything whose change can move a number."""
    found = {"python": sys.version.split()[0]}
    for package in ("boir-sdk", "numpy", "opencv-python", "openvino", "torch", "pycocotools"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
