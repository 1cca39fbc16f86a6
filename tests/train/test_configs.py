"""The configurations of the paper's ablations, and that every run the tables name has one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from boir_train import config, results
from boir_train.losses.total import LossSettings
from boir_train.tables import paper

# Tables 4 left and 7: what a row changes of the loss of coco_w32, and nothing else.
ABLATIONS = {
    "table4_plain": {"bbox_mask": 0.0, "bbox": 0.0},
    "table4_mask": {"bbox": 0.0},
    "table4_box": {"bbox_mask": 0.0},
    "table4_published_1": {"embedding_loss": "published-1"},
    "table7_beta_0_5": {"bbox": 0.0, "beta": 0.5},
    "table7_beta_1": {"bbox": 0.0, "beta": 1.0},
    "table7_beta_5": {"bbox": 0.0, "beta": 5.0},
    "table7_beta_15": {"bbox": 0.0, "beta": 15.0},
    **{f"table7_dim_{channels}": {"bbox": 0.0, "embedding_channels": channels} for channels in (1, 8, 16, 32, 64)},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_differs_from_the_row_in_the_loss_alone(name: str) -> None:
    row, ablation = config.load("coco_w32"), config.load(name)
    assert ablation.loss != row.loss
    assert ablation == dataclasses.replace(row, loss=LossSettings(**ABLATIONS[name]))


def test_every_row_of_table_7_and_of_table_4_left_has_its_configuration() -> None:
    losses = [config.load(name).loss for name in ("coco_w32", *ABLATIONS)]
    for row in paper()["4_left"]["rows"]:
        wanted = (row["bbox_mask_loss"], row["bbox_head"])
        assert any((loss.bbox_mask > 0, loss.bbox > 0) == wanted for loss in losses), row
    alone = [loss for loss in losses if loss.bbox == 0 and loss.bbox_mask > 0]
    for row in paper()["7_left"]["rows"]:
        assert any(loss.beta == row["beta"] and loss.embedding_channels == 0 for loss in alone), row
    for row in paper()["7_right"]["rows"]:
        channels = 0 if row["emb_dim"] == 128 else row["emb_dim"]  # 0: all 128
        assert any(loss.embedding_channels == channels and loss.beta == 10 for loss in alone), row


def test_no_ablation_is_untested() -> None:
    assert {name for name in config.names() if name.startswith("table")} == set(ABLATIONS)


@pytest.mark.parametrize("name", config.names())
def test_a_configuration_says_what_it_is_and_trains_to_the_preset_size(name: str) -> None:
    read = config.load(name)
    text = (Path(config.__file__).parent / "configs" / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    if read.model.preset not in ("nano", "small"):
        assert read.data.sizes == ({"w32": 512, "w48": 640}[read.model.preset],)


@pytest.mark.parametrize("run", results.RUNS.values(), ids=lambda run: run.name)
def test_a_run_of_the_tables_is_a_configuration(run: results.Run) -> None:
    name = run.name.removesuffix("_val").removesuffix("_test")
    read = config.load(name)
    assert (read.model.preset, read.data.sizes) == (run.preset, (run.size,))
    assert read.eval.protocol == run.dataset
    assert Path(run.annotations).parts[:2] == Path(read.data.root).parts
    if read.eval.annotations is not None and not run.name.endswith("_test"):
        assert run.annotations == str(Path(read.data.root, read.eval.annotations))
        assert run.images == str(Path(read.data.root, read.eval.images or ""))
    if read.model.start == "checkpoint":  # evaluation only
        assert run.weights == read.model.weights
    else:
        assert run.weights == f"runs/{name.removesuffix('_testdev')}/final.safetensors"
