"""Batches: shapes, order, and that nothing but the run's seed decides them."""

from __future__ import annotations

import dataclasses
import multiprocessing

import numpy as np
import pytest
import torch

from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import COCO17
from boir_train.data.augment import AugmentSettings
from boir_train.data.datasets import Picture, Source, load
from boir_train.data.loader import Batch, EpochSampler, Request, Samples, SampleSettings, collate, make_loader
from tests.support.tiny_training import write_data_set

SETTINGS = SampleSettings(
    skeleton=COCO17,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    augment=AugmentSettings(colour=0.2),
    min_area=0.0,
    box_clip="published",
    ignore_unlabelled=False,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    folder = write_data_set(tmp_path_factory.mktemp("data") / "set", 7)
    return load([Source("people.json", "images")], COCO17, "coco", str(folder))


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Batch))


def epoch(pictures: list[Picture], number: int = 0, first: int = 0, workers: int = 0, seed: int = 3) -> list[Batch]:
    sampler = EpochSampler(len(pictures), 3, [64, 96], seed=seed)
    sampler.set_epoch(number, first)
    return list(make_loader(pictures, SETTINGS, sampler, workers=workers, cache_mb=1))


def test_shapes_and_types(pictures: list[Picture]) -> None:
    for batch in epoch(pictures):
        b, _, size, _ = batch.images.shape
        n, side = len(batch.image_index), size // 4
        expected = {
            "images": ((b, 3, size, size), torch.float32),
            "multi_heatmap": ((b, 18, side, side), torch.float32),
            "multi_mask": ((b, 1, side, side), torch.float32),
            "instance_coord": ((n, 2), torch.int64),
            "image_index": ((n,), torch.int64),
            "instance_heatmap": ((n, 17, side, side), torch.float32),
            "instance_mask": ((n, 17, 1, 1), torch.float32),
            "keypoints": ((n, 17, 3), torch.float32),
            "boxes": ((n, 4), torch.float64),
            "counts": ((b,), torch.int64),
            "num_inst": ((b,), torch.int64),
        }
        for name, (shape, kind) in expected.items():
            value = getattr(batch, name)
            assert (tuple(value.shape), value.dtype) == (shape, kind), name
        assert batch.counts.sum() == n
        assert torch.equal(torch.bincount(batch.image_index, minlength=b), batch.counts)


def test_a_picture_without_instances_gives_a_placeholder(pictures: list[Picture]) -> None:
    settings = dataclasses.replace(SETTINGS, min_area=1e9)
    samples = Samples(pictures, settings)
    batch = collate([samples[Request(index, 64, (0, index))] for index in range(2)])
    assert batch.num_inst.tolist() == [0, 0]
    assert batch.counts.tolist() == [1, 1]
    assert not batch.boxes.any()
    assert not batch.instance_mask.any()
    assert not batch.instance_heatmap.any()


def test_the_same_seed_gives_the_same_batches(pictures: list[Picture]) -> None:
    assert all(map(same, epoch(pictures), epoch(pictures)))
    assert not same(epoch(pictures)[0], epoch(pictures, seed=4)[0])
    assert not same(epoch(pictures)[0], epoch(pictures, number=1)[0])


def test_workers_change_nothing(pictures: list[Picture]) -> None:
    assert all(map(same, epoch(pictures), epoch(pictures, workers=2)))


def test_samples_can_be_sent_to_a_spawned_worker(pictures: list[Picture]) -> None:
    request = Request(0, 64, (1, 2))
    samples = Samples(pictures, SETTINGS, 10**6)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        far = pool.apply(samples.__getitem__, (request,))
    np.testing.assert_array_equal(far.image, samples[request].image)


def test_an_epoch_can_be_entered_in_the_middle(pictures: list[Picture]) -> None:
    whole, rest = epoch(pictures), epoch(pictures, first=1)
    assert len(whole) == 3
    assert len(rest) == 2
    assert all(map(same, whole[1:], rest))


def test_the_cache_changes_nothing_and_stays_within_its_limit(pictures: list[Picture]) -> None:
    small, none = Samples(pictures, SETTINGS, 80_000), Samples(pictures, SETTINGS)
    for _ in range(2):
        for index in range(len(pictures)):
            request = Request(index, 64, (5, index))
            np.testing.assert_array_equal(small[request].image, none[request].image)
    assert 0 < sum(image.nbytes for image in small._cache.values()) <= 80_000


@pytest.mark.parametrize(("pictures_count", "world", "batch"), [(7, 1, 3), (7, 2, 2), (10, 4, 3), (2, 4, 1), (8, 2, 4)])
def test_ranks_share_an_epoch(pictures_count: int, world: int, batch: int) -> None:
    requests = []
    for rank in range(world):
        sampler = EpochSampler(pictures_count, batch, [64], seed=1, rank=rank, world=world)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert all(len(entry) == batch for entry in batches[:-1])
        requests.append([request for entry in batches for request in entry])
    per_rank = -(-pictures_count // world)
    assert [len(entry) for entry in requests] == [per_rank] * world
    assert {request.index for entry in requests for request in entry} == set(range(pictures_count))
    seeds = [request.seed for entry in requests for request in entry]
    assert len(set(seeds)) == len(seeds)


def test_all_ranks_take_the_same_size_and_all_sizes_come() -> None:
    by_rank = []
    for rank in range(2):
        sampler = EpochSampler(200, 2, [64, 96, 128], rank=rank, world=2)
        by_rank.append([batch[0].size for batch in sampler])
        assert all(len({request.size for request in batch}) == 1 for batch in sampler)
    assert by_rank[0] == by_rank[1]
    assert set(by_rank[0]) == {64, 96, 128}


def test_a_size_must_suit_the_network() -> None:
    with pytest.raises(ConfigError, match="multiples of 32"):
        EpochSampler(4, 2, [100])


def test_absent_keypoints_are_judged_nowhere(pictures: list[Picture]) -> None:
    request = Request(0, 64, (3, 0))
    plain = Samples(pictures, SETTINGS)[request]
    masked = Samples(pictures, dataclasses.replace(SETTINGS, absent=("nose", "right_ankle")))[request]
    batch = collate([masked, masked])
    assert batch.multi_mask.shape == (2, 18, 16, 16)
    for channel, name in enumerate((*COCO17.keypoints, "centre")):
        wanted = np.zeros_like(plain.mask[0]) if name in ("nose", "right_ankle") else plain.mask[0]
        np.testing.assert_array_equal(masked.mask[channel], wanted)
    np.testing.assert_array_equal(masked.image, plain.image)
