"""The training loop on a tiny network: learning, resuming, freezing, averaging, stopping."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from boir_sdk.errors import BoirError, CheckpointError, ConfigError
from boir_sdk.skeleton import COCO17
from boir_train import config, snapshot, trainer
from boir_train.data.datasets import load
from boir_train.data.loader import EpochSampler, SampleSettings, make_loader
from boir_train.distributed import Ranks
from boir_train.schedule import learning_rate
from tests.support.tiny_training import TinyNet, tiny_config, write_data_set

HERE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("trainer") / "set", 7)


def fresh_model(seed: int = 0) -> TinyNet:
    torch.manual_seed(seed)
    return TinyNet(COCO17)


def run(
    data: Path,
    folder: Path,
    /,
    *,
    model: nn.Module | None = None,
    evaluate: Any = None,
    resume: bool = False,
    **sections: Any,
) -> tuple[trainer.Outcome, nn.Module, config.Config]:
    settings = config.parse(tiny_config(data, **sections))
    model = model or fresh_model()
    pictures = load(settings.data.train, COCO17, "coco", settings.data.root)
    sampler = EpochSampler(len(pictures), settings.train.batch_size, settings.data.sizes, seed=settings.train.seed)
    facts = model.settings
    samples = SampleSettings(COCO17, facts.mean, facts.std, settings.augment, 0.0, "published", False)
    loader = make_loader(pictures, samples, sampler, workers=settings.data.workers)
    folder.mkdir(exist_ok=True)
    outcome = trainer.train(model, loader, sampler, settings, folder, HERE, evaluate=evaluate, resume=resume)
    return outcome, model, settings


def records(folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def states_equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(states_equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(states_equal, a, b))
    return bool(a == b)


def test_a_run_learns_and_leaves_its_files(data: Path, tmp_path: Path) -> None:
    outcome, model, settings = run(data, tmp_path / "run", schedule={"epochs": 12})
    assert outcome == "finished"
    lines = records(tmp_path / "run")
    assert len(lines) == 12 * 4
    assert set(lines[0]) >= {"multi_heatmap", "single_heatmap", "bbox_mask", "bbox", "total", "lr", "gradient_norm"}
    first, last = (sum(line["total"] for line in part) for part in (lines[:8], lines[-8:]))
    assert last < 0.7 * first
    final = safetensors.torch.load_file(tmp_path / "run" / "final.safetensors")
    assert states_equal(final, dict(model.state_dict()))
    rates = [
        learning_rate(i, base=0.01, final=1e-6, epochs=12, iterations_per_epoch=4, warmup_epochs=0) for i in range(48)
    ]
    assert [line["lr"] for line in lines] == pytest.approx(rates, rel=1e-12)
    saved = snapshot.read(tmp_path / "run")
    assert saved is not None
    assert saved.iteration == 48
    assert config.parse(saved.config) == settings


@pytest.mark.parametrize(
    ("stop", "sections"),
    [
        (3, {"optim": {"ema": 0.9}}),
        (4, {}),
        (5, {"optim": {"accumulate": 2, "lr_scale": {"backbone": 0.1}}, "schedule": {"epochs": 4}}),
        (3, {"optim": {"amp": "fp16"}}),
        (2, {"optim": {"amp": "bf16"}, "data": {"sizes": [64, 96]}}),
        (3, {"train": {"max_instances": 2}}),
        (3, {"optim": {"relative": ["backbone"], "ema": 0.9, "blend": {"backbone": 0.5}}}),
    ],
    ids=["ema", "epoch-boundary", "accumulate", "fp16-scaler", "bf16-sizes", "people-limit", "fine-tuning"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    data: Path, tmp_path: Path, stop: int, sections: dict[str, Any]
) -> None:
    whole = run(data, tmp_path / "whole", **sections)[1]
    cut = {**sections, "train": {**sections.get("train", {}), "max_iterations": stop}}
    assert run(data, tmp_path / "parts", **cut)[0] == "limit"
    outcome, resumed, _ = run(data, tmp_path / "parts", model=fresh_model(seed=9), resume=True, **sections)
    assert outcome == "finished"
    assert states_equal(dict(whole.state_dict()), dict(resumed.state_dict()))
    a, b = snapshot.read(tmp_path / "whole"), snapshot.read(tmp_path / "parts")
    assert a is not None
    assert b is not None
    for name in ("iteration", "model", "optimizer", "scaler", "ema", "random", "blend"):
        assert states_equal(getattr(a, name), getattr(b, name)), name
    names = ("iteration", "total", "lr", "gradient_norm")
    lines = [[line[name] for name in names] for line in records(tmp_path / "whole")]
    assert lines == [[line[name] for name in names] for line in records(tmp_path / "parts")]


def test_a_crash_repeats_the_steps_since_the_checkpoint(data: Path, tmp_path: Path) -> None:
    calls = 0

    def crash(model: nn.Module) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError("the machine went away")
        return {"AP": 0.1}

    sections: dict[str, Any] = {
        "train": {"checkpoint_every": 3},
        "eval": {"every": 1, "annotations": "a", "images": "b"},
    }
    with pytest.raises(OSError, match="went away"):
        run(data, tmp_path / "run", evaluate=crash, **sections)
    assert snapshot.read(tmp_path / "run").iteration == 3  # type: ignore[union-attr]
    run(data, tmp_path / "run", evaluate=lambda model: {"AP": 0.1}, resume=True, **sections)
    assert [line["iteration"] for line in records(tmp_path / "run")] == list(range(1, 9))
    assert [line["iteration"] for line in records(tmp_path / "run", "eval")] == list(range(1, 9))


def test_a_gradient_reaches_every_head_within_two_steps(data: Path, tmp_path: Path) -> None:
    start = {name: value.clone() for name, value in fresh_model().state_dict().items()}
    model = run(data, tmp_path / "run", train={"max_iterations": 2}, optim={"weight_decay": 0})[1]
    for name, value in model.named_parameters():
        assert not torch.equal(value, start[name]), name


def test_frozen_modules_keep_weights_and_batch_statistics(data: Path, tmp_path: Path) -> None:
    start = {name: value.clone() for name, value in fresh_model().state_dict().items()}
    model = run(
        data,
        tmp_path / "run",
        optim={"freeze": ["backbone.0", "backbone.1", "box"]},
        eval={"every": 2, "annotations": "a", "images": "b"},
        evaluate=lambda model: {"AP": 0.0},
    )[1]
    for name, value in model.state_dict().items():
        frozen = name.startswith(("backbone.0.", "backbone.1.", "box."))
        assert torch.equal(value, start[name]) == frozen, name


def test_prefixes_are_whole_names(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optim\.freeze: no parameter .* 'back'"):
        run(data, tmp_path / "run", optim={"freeze": ["back"]})
    with pytest.raises(ConfigError, match=r"optim\.lr_scale"):
        run(data, tmp_path / "run", optim={"lr_scale": {"bone": 0.1}})
    with pytest.raises(ConfigError, match="no parameter to learn"):
        run(data, tmp_path / "run", optim={"freeze": [name for name, _ in fresh_model().named_children()]})


def test_the_longest_prefix_gives_the_rate(data: Path, tmp_path: Path) -> None:
    _, _, settings = run(
        data,
        tmp_path / "run",
        optim={"lr_scale": {"backbone": 0.5, "backbone.3": 0.25}},
        train={"max_iterations": 1},
    )
    saved = snapshot.read(tmp_path / "run")
    assert saved is not None
    groups = saved.optimizer["param_groups"]
    assert {group["scale"]: group["lr"] / settings.optim.lr for group in groups} == pytest.approx(
        {1.0: 1.0, 0.5: 0.5, 0.25: 0.25}
    )


def test_one_group_holds_everything_by_default(data: Path, tmp_path: Path) -> None:
    _, model, _ = run(data, tmp_path / "run", train={"max_iterations": 1})
    (group,) = snapshot.read(tmp_path / "run").optimizer["param_groups"]  # type: ignore[union-attr]
    assert len(group["params"]) == len(list(model.parameters()))


def test_accumulation_averages_the_gradients_of_its_batches(data: Path, tmp_path: Path) -> None:
    # SGD-like check through the log: the reported loss is the mean over the two batches of a step.
    quiet = {"lr": 1e-12, "weight_decay": 0}
    run(data, tmp_path / "single", optim=quiet, train={"max_iterations": 4}, model=fresh_model().eval())
    run(data, tmp_path / "double", optim={**quiet, "accumulate": 2}, train={"max_iterations": 2})
    single = [line["total"] for line in records(tmp_path / "single")]
    double = [line["total"] for line in records(tmp_path / "double")]
    assert double == pytest.approx([sum(single[:2]) / 2, sum(single[2:]) / 2], rel=1e-5)


def test_evaluation_sees_the_average_and_keeps_the_best(data: Path, tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    figures = iter([0.2, 0.5, 0.3, 0.4])

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"AP": next(figures), "AR": 0.9}

    sections = {"optim": {"ema": 0.9}, "eval": {"every": 2, "annotations": "a", "images": "b"}}
    _, model, _ = run(data, tmp_path / "run", evaluate=evaluate, **sections)
    assert len(seen) == 4
    best = safetensors.torch.load_file(tmp_path / "run" / "best.safetensors")
    assert states_equal(best, {name: value for name, value in seen[1].items()})
    final = safetensors.torch.load_file(tmp_path / "run" / "final.safetensors")
    assert states_equal(final, seen[3])
    assert not torch.equal(final["center.weight"], model.state_dict()["center.weight"])
    assert [line["AP"] for line in records(tmp_path / "run", "eval")] == [0.2, 0.5, 0.3, 0.4]
    assert snapshot.read(tmp_path / "run").best_ap == 0.5  # type: ignore[union-attr]


def test_evaluation_changes_nothing_in_the_training(data: Path, tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        model.encode(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))  # type: ignore[operator]
        return {"AP": 0.0}

    sections = {"optim": {"ema": 0.9}, "eval": {"every": 1, "annotations": "a", "images": "b"}}
    without = run(data, tmp_path / "without", **sections)[1]
    with_it = run(data, tmp_path / "with", evaluate=evaluate, **sections)[1]
    assert states_equal(dict(without.state_dict()), dict(with_it.state_dict()))


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(data: Path, tmp_path: Path) -> None:
    model = fresh_model()
    nn.init.constant_(model.box.bias, float("nan"))
    with pytest.raises(BoirError, match=r"'bbox' is nan in iteration 0"):
        run(data, tmp_path / "run", model=model)
    assert not (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(data: Path, tmp_path: Path, number: int) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        os.kill(os.getpid(), number)
        return {"AP": 0.0}

    before = signal.getsignal(number)
    outcome, model, _ = run(
        data, tmp_path / "run", evaluate=evaluate, eval={"every": 3, "annotations": "a", "images": "b"}
    )
    assert outcome == "interrupted"
    assert signal.getsignal(number) is before
    saved = snapshot.read(tmp_path / "run")
    assert saved is not None
    assert saved.iteration == 3
    assert states_equal(saved.model, dict(model.state_dict()))
    assert not (tmp_path / "run" / "final.safetensors").exists()


def test_a_time_limit_ends_the_run_whole(data: Path, tmp_path: Path) -> None:
    outcome, _, _ = run(data, tmp_path / "run", train={"max_minutes": 1e-9})
    assert outcome == "limit"
    assert snapshot.read(tmp_path / "run").iteration == 1  # type: ignore[union-attr]
    assert (tmp_path / "run" / "final.safetensors").exists()


def test_the_schedule_may_be_counted_in_steps(data: Path, tmp_path: Path) -> None:
    outcome, _, _ = run(data, tmp_path / "run", schedule={"iterations": 6, "warmup_iterations": 2})
    assert outcome == "finished"
    rates = [line["lr"] for line in records(tmp_path / "run")]
    assert len(rates) == 6
    assert rates[:3] == pytest.approx([1e-12, 0.01, 0.01])


def test_a_damaged_snapshot_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", train={"max_iterations": 1})
    file = tmp_path / "run" / "last.pt"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"last\.pt can't be read"):
        run(data, tmp_path / "run", resume=True)


def test_a_snapshot_of_another_model_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", train={"max_iterations": 1})
    with pytest.raises(CheckpointError, match="doesn't fit"):
        run(data, tmp_path / "run", model=TinyNet(COCO17, channels=4), resume=True)


def test_two_hundred_people_at_most_reach_the_person_head(data: Path, tmp_path: Path) -> None:
    counts: list[int] = []
    model = fresh_model()
    model.person.register_forward_hook(lambda module, inputs, output: counts.append(len(output)))
    run(data, tmp_path / "run", model=model, train={"batch_size": 7, "max_instances": 3})
    assert counts == [3, 3]


def test_workers_learn_the_same(data: Path, tmp_path: Path) -> None:
    none = run(data, tmp_path / "none", data={"workers": 0})[1]
    two = run(data, tmp_path / "two", data={"workers": 2})[1]
    assert states_equal(dict(none.state_dict()), dict(two.state_dict()))


@pytest.mark.parametrize("amp", ["off", "fp16"])
def test_clipping_acts_with_and_without_loss_scaling(data: Path, tmp_path: Path, amp: str) -> None:
    # Small weights, so that the first step doesn't overflow in half precision and is not skipped. AdamW hides the
    # gradient's size, so it is read off the first moment: (1 - beta1) * gradient.
    small = {"multi_heatmap": 1e-3, "single_heatmap": 1e-3, "bbox_mask": 0, "bbox": 1e-3}
    run(data, tmp_path / "run", loss=small, optim={"amp": amp, "clip": 1e-4}, train={"max_iterations": 1})
    saved = snapshot.read(tmp_path / "run")
    assert saved is not None
    moments = [state["exp_avg"] for state in saved.optimizer["state"].values()]
    norm = torch.stack([moment.norm() for moment in moments]).norm().item() / 0.1
    assert norm == pytest.approx(1e-4, rel=1e-2)
    assert records(tmp_path / "run")[0]["gradient_norm"] > 1e-3
    assert bool(saved.scaler) == (amp == "fp16")


def test_an_overflow_in_half_precision_skips_the_step(data: Path, tmp_path: Path) -> None:
    start = {name: value.clone() for name, value in fresh_model().named_parameters()}
    sections = {"loss": {"single_heatmap": 1e5}, "optim": {"amp": "fp16"}, "train": {"max_iterations": 1}}
    model = run(data, tmp_path / "run", **sections)[1]
    assert all(torch.equal(value, start[name]) for name, value in model.named_parameters())
    assert records(tmp_path / "run")[0]["gradient_norm"] is None
    assert snapshot.read(tmp_path / "run").scaler["scale"] == trainer.INITIAL_LOSS_SCALE / 2  # type: ignore[union-attr]
