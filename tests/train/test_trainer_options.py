"""The training loop: what it does when something isn't finite, torch.compile, TensorBoard, the paper's network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from boir_sdk.errors import BoirError, CheckpointError
from boir_train import build_model, config, fit, snapshot
from tests.support.tiny_training import write_data_set
from tests.train.test_trainer import fresh_model, records, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("options") / "set", 7)


def test_a_batch_that_gave_no_finite_loss_is_kept(data: Path, tmp_path: Path) -> None:
    model = fresh_model()
    seen: list[torch.Tensor] = []
    model.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].clone()))

    def spoil(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * (float("nan") if len(seen) == 3 else 1)

    model.person.register_forward_hook(spoil)
    with pytest.raises(BoirError, match=r"'single_heatmap' is nan in iteration 2.*not-finite-2-rank0\.pt") as caught:
        run(data, tmp_path / "run", model=model, train={"checkpoint_every": 1})
    path = tmp_path / "run" / "not-finite-2-rank0.pt"
    assert str(path) in str(caught.value)
    (batch,) = torch.load(path, weights_only=True)
    assert torch.equal(batch["images"], seen[2])
    assert set(batch) >= {"multi_heatmap", "boxes", "instance_coord", "instance_mask"}
    assert [file.name for file in (tmp_path / "run").iterdir() if file.name.endswith(".part")] == []
    saved = snapshot.read(tmp_path / "run")
    assert saved is not None
    assert saved.iteration == 2
    assert all(torch.isfinite(value).all() for value in saved.model.values())


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(data: Path, tmp_path: Path) -> None:
    model = fresh_model()
    start = {name: value.clone() for name, value in model.named_parameters()}
    model.box.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(BoirError, match=r"'gradient_norm' is (nan|inf) in iteration 0"):
        run(data, tmp_path / "run", model=model)
    assert all(torch.equal(value, start[name]) for name, value in model.named_parameters())
    assert (tmp_path / "run" / "not-finite-0-rank0.pt").is_file()


def test_a_compiled_network_learns_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole of torch.compile but the last step, machine code, for which not every machine has a compiler.
    compiled: list[nn.Module] = []
    original = nn.Module.compile

    def compile_without_code(module: nn.Module) -> None:
        compiled.append(module)
        original(module, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_without_code)
    plain = run(data, tmp_path / "plain", train={"max_iterations": 3})[1]
    assert not compiled
    made = run(data, tmp_path / "compiled", train={"max_iterations": 3, "compile": True})[1]
    assert compiled == [made]
    for (name, one), (other_name, other) in zip(plain.state_dict().items(), made.state_dict().items(), strict=True):
        assert name == other_name
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_tensorboard_has_what_the_log_has(data: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(data, tmp_path / "run", train={"max_iterations": 3})
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("train/total")]
    assert found == [(line["iteration"], pytest.approx(line["total"], rel=1e-6)) for line in records(tmp_path / "run")]


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_the_paper_network_takes_three_steps(data: Path, tmp_path: Path, amp: str) -> None:
    # The same at 512 is `boir-train speed step --config coco_w32 --size 512`; here the smallest picture it takes.
    torch.manual_seed(0)
    model = build_model("w32", "coco17", training=True)
    start = {name: value.clone() for name, value in model.named_parameters()}
    sections = {"optim": {"lr": 1e-3, "amp": amp}, "train": {"max_iterations": 3, "batch_size": 1}}
    run(data, tmp_path / "run", model=model, **sections)
    lines = records(tmp_path / "run")
    assert len(lines) == 3
    for name in ("multi_heatmap", "single_heatmap", "bbox_mask", "bbox", "total", "gradient_norm"):
        assert all(math.isfinite(line[name]) for line in lines), name
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert all(value.dtype == torch.float32 for value in model.parameters())
    assert not all(torch.equal(value, start[name]) for name, value in model.named_parameters())


def test_start_weights_are_complete_or_refused(tmp_path: Path) -> None:
    """T7.5: the public code went on with a random backbone when the file was missing."""
    file = tmp_path / "hrnet_w32-36af842e.pth"
    settings = config.load("coco_w32", [f"model.weights={file}"])
    with pytest.raises(CheckpointError, match=r"no start weights at .*; fetch HRNet-W32 trained on ImageNet"):
        fit.make_model(settings)
    torch.manual_seed(1)
    own = build_model("w32", "coco17", training=True).backbone.state_dict()
    weights = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    torch.save({**weights, "classifier.weight": torch.zeros(3)}, file)
    filled = fit.make_model(settings)
    assert all(torch.equal(value, own[name]) for name, value in filled.backbone.state_dict().items())
    del weights["stage4.2.fuse_layers.0.1.0.weight"]
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match=r"missing are 'stage4\.2\.fuse_layers\.0\.1\.0\.weight' and 0 more"):
        fit.make_model(settings)
