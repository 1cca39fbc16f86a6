"""Configurations: typed reading, overrides, errors that help, and the figures of the paper's rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from boir_sdk.errors import ConfigError
from boir_train import config

# SPEC-training T1.3: size, keypoints, weight of the box loss, epochs, warm-up, SyncBN, start.
ROWS = {
    "coco_w32": (512, "coco17", 0.25, 140, 10, False, "backbone"),
    "coco_w32_testdev": (512, "coco17", 0.25, 140, 10, False, "backbone"),
    "coco_w48": (640, "coco17", 0.25, 140, 10, False, "backbone"),
    "coco_w48_testdev": (640, "coco17", 0.25, 140, 10, False, "backbone"),
    "crowdpose_w32": (512, "crowdpose14", 0.25, 310, 10, False, "backbone"),
    "crowdpose_w32_finetune": (512, "crowdpose14", 1.0, 100, 1, True, "transfer"),
    "crowdpose_w48": (640, "crowdpose14", 0.25, 310, 10, False, "backbone"),
    "crowdpose_w48_finetune": (640, "crowdpose14", 1.0, 100, 10, False, "transfer"),
    "ochuman_w32": (512, "coco17", 0.25, 140, 10, False, "checkpoint"),
    "ochuman_w48": (640, "coco17", 0.25, 140, 10, False, "checkpoint"),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_papers_rows(name: str) -> None:
    row = config.load(name)
    size, skeleton, bbox, epochs, warmup, sync_bn, start = ROWS[name]
    assert row.data.sizes == (size,)
    assert row.model.skeleton == skeleton
    assert row.model.preset == name.split("_")[1]
    assert (row.schedule.epochs, row.schedule.warmup_epochs) == (epochs, warmup)
    assert (row.train.sync_bn, row.model.start) == (sync_bn, start)
    assert bool(row.data.train) == (not name.startswith("ochuman"))
    crowdpose = skeleton == "crowdpose14"
    assert (row.data.rules, row.data.min_area) == (("crowdpose", 0) if crowdpose else ("coco", 1024))
    loss = row.loss
    assert (loss.multi_heatmap, loss.single_heatmap, loss.bbox_mask, loss.bbox) == (1, 4, 0.25, bbox)
    assert (loss.beta, loss.offset) == (10, 0)
    # Common to all rows.
    optim, augment = row.optim, row.augment
    assert (optim.lr, optim.weight_decay, optim.clip, optim.amp) == (1e-3, 0.025, 10, "auto")
    assert (optim.accumulate, optim.ema, optim.freeze, optim.lr_scale) == (1, 0, (), {})
    assert (row.schedule.final, row.schedule.warmup_start) == (1e-6, 1e-12)
    assert (row.train.batch_size, row.train.max_instances, row.data.workers) == (20, 200, 4)
    assert (augment.flip, augment.max_rotation, augment.min_scale, augment.max_scale) == (0.5, 30, 0.75, 1.5)
    assert (augment.max_translate, augment.scale_side, augment.colour, augment.area_resample) == (40, "short", 0, False)


def test_every_configuration_of_the_package_loads_and_survives_a_round_trip(tmp_path: Path) -> None:
    assert set(ROWS) | {"nano"} <= set(config.names())
    for name in config.names():
        read = config.load(name)
        config.dump(read, tmp_path / "config.yaml")
        assert config.load(str(tmp_path / "config.yaml")) == read


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("optim.lr=1e-4", "optim", "lr", 1e-4),
        ("optim.lr=1", "optim", "lr", 1.0),
        ("optim.amp=off", "optim", "amp", "off"),
        ("optim.amp=bf16", "optim", "amp", "bf16"),
        ("optim.betas=[0.8, 0.99]", "optim", "betas", (0.8, 0.99)),
        ("optim.freeze=[backbone, multihead.center_head]", "optim", "freeze", ("backbone", "multihead.center_head")),
        ("optim.freeze=backbone", "optim", "freeze", ("backbone",)),
        ("optim.lr_scale={backbone: 0.1}", "optim", "lr_scale", {"backbone": 0.1}),
        ("optim.lr_scale.backbone=0.1", "optim", "lr_scale", {"backbone": 0.1}),
        ("data.sizes=[256, 320]", "data", "sizes", (256, 320)),
        ("data.box_clip=corners", "data", "box_clip", "corners"),
        ("train.sync_bn=true", "train", "sync_bn", True),
        ("eval.annotations=null", "eval", "annotations", None),
        ("loss.embedding_loss=published-1", "loss", "embedding_loss", "published-1"),
        ("model.init=published", "model", "init", "published"),
    ],
)
def test_overrides_are_typed(override: str, section: str, key: str, value: Any) -> None:
    assert getattr(getattr(config.load("coco_w32", [override]), section), key) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"unknown configuration key 'optim.lrr' \(did you mean 'lr'"),
        ("optm.lr=1", r"unknown configuration key 'optm' \(did you mean 'optim'"),
        ("loss.beeta=1", "did you mean 'beta'"),
        ("optim.lr", "section.key=value"),
        ("optim.lr=fast", "optim.lr must be of type float"),
        ("optim.lr=true", "optim.lr must be of type float"),
        ("train.batch_size=2.5", "train.batch_size must be of type int"),
        ("train.batch_size=true", "train.batch_size must be of type int"),
        ("train.sync_bn=1", "train.sync_bn must be of type bool"),
        ("model.preset=48", "model.preset must be of type str"),
        ("optim.betas=[0.9]", "must have 2 values"),
        ("optim.amp=fp8", "must be one of auto, off, fp16, bf16"),
        ("data.root.x=1", "is a value, not a section"),
        ("optim.lr.x=1", "optim.lr must be of type float"),
        ("optim=1", "optim must be a section"),
        ("optim.lr=[", "isn't YAML"),
        ("data.train=[{images: x}]", r"data.train\[0\] needs the key 'annotations'"),
        ("data.sizes=[100]", "multiples of 32"),
        ("data.sizes=[]", "length of data.sizes"),
        ("train.batch_size=0", "train.batch_size must be more than 0"),
        ("optim.ema=1", "optim.ema"),
        ("model.skeleton=hand21", "model.skeleton must be one of coco17"),
        ("model.weights=null", "contradict"),
        ("model.start=scratch", "contradict"),
        ("augment.min_scale=2", "larger than augment.max_scale"),
        ("loss.bbox=-1", "loss.bbox"),
        ("schedule.epochs=0", "schedule.epochs"),
    ],
)
def test_mistakes_are_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load("coco_w32", [override])


@pytest.mark.parametrize(
    "overrides",
    [
        ["eval.every=5", "eval.annotations=null"],
        ["eval.every=5", "eval.hold_out=5"],
    ],
)
def test_evaluation_needs_exactly_one_source(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"either eval.annotations .* or eval.hold_out"):
        config.load("coco_w32", overrides)


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'coco_w32'"):
        config.load("cocow32")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(ConfigError, match="must hold sections"):
        config.load(str(tmp_path / "list.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="isn't YAML"):
        config.load(str(tmp_path / "broken.yaml"))
