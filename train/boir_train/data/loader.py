"""Batches of training samples, the same for any number of workers and after any restart."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import Skeleton
from boir_train.data.augment import STRIDE, AugmentSettings, augment, change_colours
from boir_train.data.crowd import Scene, mosaic, paste
from boir_train.data.datasets import Picture, agree, read_picture, valid_mask
from boir_train.data.draws import Draws, SeededDraws
from boir_train.data.reach import judged, within
from boir_train.data.targets import BoxClip, CentreRule, KeypointWidth, Targets, build

CROWD_SEED = 2  # behind a request's seed


@dataclass(frozen=True, slots=True)
class Batch:
    """B pictures with their N instances, pictures in order. I = network side, R = I / 4.

    Attributes:
        images: float32 [B, 3, I, I], normalised RGB.
        multi_heatmap: [B, K + 1, R, R], last channel the centres.
        multi_mask: [B, 1, R, R], 0 where the multi-heatmap isn't judged; [B, K + 1, R, R] when some of its channels
            are judged nowhere.
        instance_coord: int64 [N, 2] cells (y, x).
        image_index: int64 [N], row of `images`.
        instance_heatmap: [N, K, R, R].
        instance_mask: [N, K, 1, 1].
        keypoints: float32 [N, K, 3] x, y in cells and v.
        boxes: float64 [N, 4] x, y, w, h in cells.
        counts: int64 [B], rows of each picture, placeholders included (T2.9).
        num_inst: int64 [B], people of each picture, 0 for a placeholder.
    """

    images: torch.Tensor
    multi_heatmap: torch.Tensor
    multi_mask: torch.Tensor
    instance_coord: torch.Tensor
    image_index: torch.Tensor
    instance_heatmap: torch.Tensor
    instance_mask: torch.Tensor
    keypoints: torch.Tensor
    boxes: torch.Tensor
    counts: torch.Tensor
    num_inst: torch.Tensor

    def to(self, device: torch.device, *, channels_last: bool = False) -> Batch:
        """Return the batch on `device`, its pictures in channels-last memory if asked."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        if channels_last:
            moved["images"] = moved["images"].contiguous(memory_format=torch.channels_last)
        return Batch(**moved)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by PyTorch's loader)."""
        return Batch(**{field.name: getattr(self, field.name).pin_memory() for field in fields(self)})


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """How one picture becomes one sample.

    Attributes:
        skeleton: of the annotations.
        mean, std: of RGB / 255, the model's.
        augment: ranges of the random changes.
        min_area: network pixels squared; smaller people get no centre (T2.6).
        box_clip: see `targets.target_box`.
        centre: see `targets.build`.
        width: of keypoint Gaussians, "published" (one for all, T2.7) or "oks" (`targets.keypoint_radii`).
        ignore_unlabelled: see `datasets.valid_mask`.
        absent: names of keypoints whose channel is judged nowhere, as the annotations never have them.
        reach: see `reach.within`.
    """

    skeleton: Skeleton
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augment: AugmentSettings
    min_area: float
    box_clip: BoxClip
    ignore_unlabelled: bool
    centre: CentreRule = "keypoints"
    width: KeypointWidth = "published"
    absent: tuple[str, ...] = ()
    reach: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One sample of an epoch: which picture, at which network side, from which seed."""

    index: int
    size: int
    seed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A normalised picture [3, I, I], its valid cells [1, R, R] or [K + 1, R, R], and its targets."""

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    targets: Targets


def normalise(image_rgb: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return [3, H, W] from uint8 [H, W, 3], each step rounded to float32 as the published numbers are (T6)."""
    picture = image_rgb.astype(np.float32) / np.float32(255)
    picture = (picture - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def make_sample(scene: Scene, request: Request, settings: SampleSettings) -> Sample:
    """Augment one picture and make its targets."""
    draws = SeededDraws(*request.seed)
    changed = augment(
        scene.image_rgb,
        scene.valid,
        scene.keypoints,
        scene.boxes,
        request.size,
        settings.skeleton,
        settings.augment,
        draws,
    )
    taught = within(changed.corners, settings.reach)
    targets = build(
        changed.keypoints,
        changed.corners,
        changed.area,
        request.size // STRIDE,
        draws,
        min_area=settings.min_area,
        box_clip=settings.box_clip,
        centre=settings.centre,
        sigmas=settings.skeleton.sigmas if settings.width == "oks" else None,
        taught=taught,
    )
    image = changed.image_rgb
    # After the published draws, so that those stay what they are without it.
    if settings.augment.colour > 0:
        image = change_colours(image, settings.augment.colour, draws)
    mask = judged(changed.valid, changed.corners, taught)[None].astype(np.float32)
    if settings.absent:
        known = [name not in settings.absent for name in (*settings.skeleton.keypoints, "centre")]
        mask = mask * np.array(known, np.float32)[:, None, None]
    return Sample(normalise(image, settings.mean, settings.std), mask, targets)


class Samples(Dataset[Sample]):
    """The pictures of a run, answered by `Request`; keeps the first decoded pictures in memory up to a limit."""

    def __init__(self, pictures: Sequence[Picture], settings: SampleSettings, cache_bytes: int = 0) -> None:
        """Serve `pictures`; decoded ones are kept until `cache_bytes` of this process are full."""
        self._pictures = pictures
        self._settings = settings
        self._cache: dict[int, NDArray[np.uint8]] = {}
        self._room = cache_bytes

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, request: Request) -> Sample:
        scene = self._scene(request.index)
        chances = self._settings.augment
        # Draws of their own, so that the published ones stay what they are without these.
        draws = SeededDraws(*request.seed, CROWD_SEED)
        edges = chances.align == "edges"
        if draws.uniform() < chances.mosaic:
            scene = mosaic([scene, *(self._other(draws) for _ in range(3))], edges=edges)
        if draws.uniform() < chances.paste:
            scene = paste(scene, self._other(draws), draws, edges=edges)
        return make_sample(scene, request, self._settings)

    def _other(self, draws: Draws) -> Scene:
        return self._scene(draws.integer(0, len(self._pictures) - 1))

    def _scene(self, index: int) -> Scene:
        image_rgb = self._decoded(index)
        picture = agree(self._pictures[index], *image_rgb.shape[:2])
        valid = valid_mask(picture, ignore_unlabelled=self._settings.ignore_unlabelled)
        return Scene(image_rgb, valid, picture.keypoints, picture.boxes, picture.outlines)

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        if index in self._cache:
            return self._cache[index]
        image_rgb = read_picture(self._pictures[index])
        if image_rgb.nbytes <= self._room:
            self._cache[index] = image_rgb
            self._room -= image_rgb.nbytes
        return image_rgb


class EpochSampler(Sampler[list[Request]]):
    """Batches of requests of one epoch on one rank (T3.6): shuffled by seed + epoch, padded so that ranks are equal.

    A function of (seed, epoch, first batch) without state of its own, so a resumed run sees the same samples.
    """

    def __init__(
        self, pictures: int, batch_size: int, sizes: Sequence[int], *, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        """Sample `pictures` pictures; each batch takes one of the network sides `sizes` at random."""
        if any(size % 32 for size in sizes):
            raise ConfigError(f"augment.sizes must be multiples of 32, not {list(sizes)}")
        self._pictures, self._batch_size, self._sizes = pictures, batch_size, tuple(sizes)
        self._seed, self._rank, self._world = seed, rank, world
        self._epoch, self._first = 0, 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Choose the epoch of the next iteration and how many of its batches are already done."""
        self._epoch, self._first = epoch, first_batch

    def __len__(self) -> int:
        """Return the batches of a whole epoch."""
        per_rank = -(-self._pictures // self._world)
        return -(-per_rank // self._batch_size)

    def __iter__(self) -> Iterator[list[Request]]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(self._pictures, generator=generator).tolist()
        total = -(-self._pictures // self._world) * self._world
        order = (order * -(-total // len(order)))[:total]
        for batch in range(self._first, len(self)):
            draws = SeededDraws(self._seed, self._epoch, batch)
            size = self._sizes[draws.integer(0, len(self._sizes) - 1)]
            places = range(self._rank + batch * self._batch_size * self._world, total, self._world)
            yield [
                Request(order[place], size, (self._seed, self._epoch, place, 1)) for place in places[: self._batch_size]
            ]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack the pictures and concatenate the instances of `samples`."""
    counts = [len(sample.targets.instance_coord) for sample in samples]

    def joined(name: str) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([getattr(sample.targets, name) for sample in samples]))

    return Batch(
        images=torch.from_numpy(np.stack([sample.image for sample in samples])),
        multi_heatmap=torch.from_numpy(np.stack([sample.targets.multi_heatmap for sample in samples])),
        multi_mask=torch.from_numpy(np.stack([sample.mask for sample in samples])),
        instance_coord=joined("instance_coord"),
        image_index=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts)),
        instance_heatmap=joined("instance_heatmap"),
        instance_mask=joined("instance_mask"),
        keypoints=joined("keypoints"),
        boxes=joined("boxes"),
        counts=torch.tensor(counts),
        num_inst=torch.tensor([sample.targets.num_inst for sample in samples]),
    )


def _quiet_worker(_: int) -> None:
    # A signal to the whole process group is the trainer's to answer: it finishes its step and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Workers are the parallelism; OpenCV's and PyTorch's own threads would only fight over the cores.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def make_loader(
    pictures: Sequence[Picture],
    settings: SampleSettings,
    sampler: EpochSampler,
    *,
    workers: int = 0,
    cache_mb: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """Make the loader of `Batch`es; call `sampler.set_epoch` before each pass.

    Args:
        pictures: of all sources.
        settings: how a picture becomes a sample.
        sampler: which samples, in which batches.
        workers: processes; 0 works in this one.
        cache_mb: memory for decoded pictures, shared out over the workers.
        pin_memory: for a GPU.
    """
    samples = Samples(pictures, settings, cache_mb * 2**20 // max(workers, 1))
    return DataLoader(
        samples,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
        worker_init_fn=_quiet_worker,
        # Its own, or each pass would draw from the global one and a resumed run would differ from a whole one.
        generator=torch.Generator(),
    )
