"""A run that is stopped at any step, in any way, ends with the same weights as one that never was, bit for bit."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from boir_train import config, fit, snapshot
from boir_train.data.loader import Batch
from tests.support.tiny_training import build_tiny, tiny_config, write_data_set

STEPS = 12
# What could differ after a stop: rounding with half precision, workers, two batches a step, averages, sizes.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "optim": {"amp": "bf16", "accumulate": 2, "ema": 0.9, "blend": {"backbone": 0.5}, "relative": ["backbone"]},
        "data": {"sizes": [64, 96], "workers": 2, "cache_mb": 1},
        "train": {"max_instances": 2, "channels_last": True},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("resume") / "set", 7)


def settings(data: Path, variant: str, **train: Any) -> config.Config:
    sections = VARIANTS[variant]
    tree = tiny_config(data, **sections, schedule={"iterations": STEPS, "warmup_iterations": 2})
    tree["train"] |= {"checkpoint_every": 3, **train}
    return config.parse(tree)


def final(folder: Path) -> dict[str, torch.Tensor]:
    saved = snapshot.read(folder)
    assert saved is not None
    assert saved.iteration == STEPS
    return saved.model


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopped_at_random_steps(variant: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    assert fit.fit(settings(data, variant), tmp_path / "whole") == "finished"
    seed = random.SystemRandom().randrange(2**32)
    stops = sorted(random.Random(seed).sample(range(1, STEPS), 3))
    print(f"seed {seed}: stopped after steps {stops}")  # shown when the test fails
    for stop in stops:
        assert fit.fit(settings(data, variant, max_iterations=stop), tmp_path / "parts", resume=True) == "limit"
        torch.rand(7)  # a new process doesn't stand where the old one stood
    assert fit.fit(settings(data, variant), tmp_path / "parts", resume=True) == "finished"
    assert equal(final(tmp_path / "whole"), final(tmp_path / "parts"))


def test_stopped_by_a_signal_at_a_random_step(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    assert fit.fit(settings(data, "plain"), tmp_path / "whole") == "finished"
    stop = random.SystemRandom().randrange(1, STEPS)
    print(f"stopped in step {stop}")
    moved, original = [0], Batch.to

    def to(batch: Batch, *arguments: Any, **options: Any) -> Batch:
        moved[0] += 1
        if moved[0] == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(batch, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "to", to)
        assert fit.fit(settings(data, "plain"), tmp_path / "parts") == "interrupted"
    saved = snapshot.read(tmp_path / "parts")
    assert saved is not None
    assert saved.iteration == stop
    assert fit.fit(settings(data, "plain"), tmp_path / "parts", resume=True) == "finished"
    assert equal(final(tmp_path / "whole"), final(tmp_path / "parts"))


def test_killed_without_a_word_repeats_from_the_last_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "build_model", build_tiny)
    assert fit.fit(settings(data, "plain"), tmp_path / "whole") == "finished"
    moved, original = [0], Batch.to

    def to(batch: Batch, *arguments: Any, **options: Any) -> Batch:
        moved[0] += 1
        if moved[0] == 9:
            raise MemoryError("the machine is out of memory")
        return original(batch, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "to", to)
        with pytest.raises(MemoryError):
            fit.fit(settings(data, "plain"), tmp_path / "parts")
    saved = snapshot.read(tmp_path / "parts")
    assert saved is not None
    assert saved.iteration == 6  # checkpoints come every third step
    assert fit.fit(settings(data, "plain"), tmp_path / "parts", resume=True) == "finished"
    assert equal(final(tmp_path / "whole"), final(tmp_path / "parts"))
