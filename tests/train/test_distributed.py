"""Two processes under torchrun (gloo) and one process with the joined batch: the same gradients.

`python -m tests.train.test_distributed JOBS` is what torchrun starts: one step of the trainer for each job, whose
gradients are read off AdamW's first moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boir_sdk.errors import ConfigError
from boir_sdk.skeleton import COCO17
from boir_train import build_model, config, fit, snapshot
from boir_train.distributed import Ranks, ranks, resolve_device
from boir_train.losses.total import total_loss
from boir_train.trainer import train
from tests.conftest import ROOT
from tests.support.tiny_training import TinyNet, tiny_config, write_data_set

# Every norm of the tiny network, and nothing else: its convolutions learn, with gradients through frozen statistics.
NORMS = ["backbone.1", "backbone.4"]


def make(kind: str) -> nn.Module:
    torch.manual_seed(3)
    if kind == "nano":
        # In double precision: a ReLU or an instance norm makes much of how a convolution of four pictures rounds, and
        # how one of two does.
        model = build_model("nano", "coco17", training=True).double()
        model.register_forward_pre_hook(lambda module, given: (given[0].double(), *given[1:]))
        return model
    model = TinyNet(COCO17)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that matter
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model


def one_step(tree: dict[str, Any], kind: str, folder: Path, here: Ranks) -> None:
    """One training step on this rank."""
    settings = config.parse(tree)
    folder.mkdir(parents=True, exist_ok=True)
    model = make(kind)
    loader, sampler = fit.make_batches(settings, fit.read(settings).pictures, model.settings, here)
    train(model, loader, sampler, settings, folder, here)


def gradients(folder: Path) -> list[Tensor]:
    """(1 - beta1) * gradient is the first moment after one step."""
    saved = snapshot.read(folder)
    assert saved is not None
    return [state["exp_avg"] / 0.1 for _, state in sorted(saved.optimizer["state"].items())]


def torchrun(jobs: list[tuple[dict[str, Any], str, str]]) -> None:
    """Do the jobs in two processes, one after the other: starting PyTorch takes longer than all of them."""
    paths = [str(ROOT / name) for name in ("sdk", "train", "convert")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*paths, str(ROOT)])}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--module"]
    done = subprocess.run(
        [sys.executable, *launcher, "tests.train.test_distributed", json.dumps(jobs)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def tree(data: Path, batch: int, size: int, **loss: Any) -> dict[str, Any]:
    return tiny_config(
        data,
        data={"sizes": [size]},
        loss={"normalise": "all", "offset": 0.5, "regress": 0.5, **loss},
        optim={"clip": 0, "weight_decay": 0},
        train={"batch_size": batch, "max_iterations": 1, "seed": 2},
        augment={"flip": 0.5, "max_rotation": 10},
    )


# name: network, what of the loss differs from the defaults
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "paper": ("tiny", {}),
    "published-1": ("tiny", {"embedding_loss": "published-1"}),
    "nano": ("nano", {}),
    "by-itself": ("tiny", {"normalise": "rank"}),
}


def job(name: str, data: Path, batch: int) -> tuple[dict[str, Any], str]:
    kind, loss = CASES[name]
    made = tree(data, batch, 64 if kind == "tiny" else 96, **loss)
    if kind == "tiny":
        made["optim"] |= {"freeze": NORMS}
    return made, kind


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("distributed") / "set", 4)


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two processes for each case."""
    folder = tmp_path_factory.mktemp("two")
    torchrun([(*job(name, data, 2), str(folder / name)) for name in CASES])
    return folder


def assert_same(one: list[Tensor], two: list[Tensor], tolerance: float) -> None:
    assert len(one) == len(two)
    largest = max(float(gradient.abs().max()) for gradient in one)
    for a, b in zip(one, two, strict=True):
        assert float((a - b).abs().max()) <= tolerance * largest
    # Not by chance: the gradients are no zeros, and each is met to a part of its own size.
    big = [(a, b) for a, b in zip(one, two, strict=True) if float(a.norm()) > 1e-3 * largest]
    assert len(big) > len(one) // 2
    for a, b in big:
        assert float((a - b).norm() / a.norm()) < 100 * tolerance


@pytest.mark.parametrize("name", ["paper", "published-1", "nano"])
def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(
    name: str, data: Path, two: Path, tmp_path: Path
) -> None:
    one_step(*job(name, data, 4), tmp_path, Ranks(0, 1, torch.device("cpu")))
    assert_same(gradients(tmp_path), gradients(two / name), 1e-5)


def test_by_itself_a_rank_normalises_as_published(data: Path, two: Path) -> None:
    """T3.3: the gradient of the mean over ranks of each rank's own loss, which the joined batch doesn't have."""
    apart, _ = job("by-itself", data, 2)
    settings = config.parse(apart)
    model = make("tiny")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(f"{prefix}." for prefix in NORMS)))
    model.train()
    for prefix in NORMS:
        model.get_submodule(prefix).eval()
    pictures = fit.read(settings).pictures
    for rank in range(2):
        here = Ranks(rank, 2, torch.device("cpu"))
        loader, sampler = fit.make_batches(settings, pictures, model.settings, here)
        sampler.set_epoch(0)
        batch = next(iter(loader))
        outputs = model(batch.images, batch.image_index, batch.instance_coord)
        (total_loss(outputs, batch, settings.loss)["total"] / 2).backward()
    by_hand = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert_same(by_hand, gradients(two / "by-itself"), 1e-5)


def test_one_process_sums_over_itself() -> None:
    values = torch.tensor([1.0, 2.0])
    assert Ranks(0, 1, torch.device("cpu")).sum(values) is values


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.device"):
        resolve_device(name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks("cpu") as me:
        for settings_tree, network, out in json.loads(sys.argv[1]):
            one_step(settings_tree, network, Path(out), me)
