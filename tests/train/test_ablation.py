"""Variants with several seeds: what is trained, what is reported, going on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from boir_train import ablation, ablation_report, fit
from boir_train.ablation import TABLE4, Arm, Run
from boir_train.cli.main import main
from tests.support.tiny_training import build_tiny, tiny_config, write_data_set


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of an ablation of the tiny network with three steps a run."""
    monkeypatch.setattr(fit, "build_model", build_tiny)
    data = write_data_set(tmp_path / "set", 5)
    tree = tiny_config(
        data,
        schedule={"iterations": 3, "warmup_iterations": 0},
        eval={"annotations": "people.json", "images": "images", "size": 64, "limit": 2},
    )
    file = tmp_path / "base.yaml"
    file.write_text(yaml.safe_dump(tree))
    return ["ablation", "--config", str(file), "--out", str(tmp_path / "out")]


def terms(folder: Path) -> set[str]:
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    return set(line) & {"bbox_mask", "bbox"}


def test_table_4_from_the_command_line(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert main([*base, "--seeds", "0", "1"]) == 0
    table = capsys.readouterr().out
    assert table == (out / "ablation.md").read_text()
    report = json.loads((out / "ablation.json").read_text())
    assert (report["planned"], report["done"]) == (10, 10)
    assert [row["paper_ap"] for row in report["arms"]] == [69.6, 70.2, 70.4, 70.6, None]
    assert all(set(row["ap"]) == {"0", "1"} and row["deviation"] is not None for row in report["arms"])
    assert report["arms"][4]["against"] == "both"
    assert terms(out / "neither-seed0") == set()
    assert terms(out / "embedding-loss-seed1") == {"bbox_mask"}
    assert terms(out / "box-head-seed0") == {"bbox"}
    assert terms(out / "both-seed0") == {"bbox_mask", "bbox"}
    resolved = yaml.safe_load((out / "both--published-1-seed1" / "config.yaml").read_text())
    assert (resolved["loss"]["embedding_loss"], resolved["train"]["seed"]) == ("published-1", 1)
    assert not (out / "both-seed0" / "last.pt").exists()

    # Again: nothing is trained, a third seed is added, the table is of all.
    trained: list[Path] = []
    original = fit.fit
    monkeypatch.setattr(
        fit, "fit", lambda settings, folder, **more: trained.append(folder) or original(settings, folder, **more)
    )
    assert main([*base, "--seeds", "0", "1", "2", "--json"]) == 0
    assert [folder.name.rsplit("-seed", 1)[1] for folder in trained] == ["2"] * 5
    assert json.loads(capsys.readouterr().out)["done"] == 15
    assert main([*base, "--seeds", "0", "--set", "optim.lr=0.5"]) == 1
    assert "another configuration" in capsys.readouterr().err


def test_a_time_limit_leaves_the_rest_for_later(
    base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*base, "--arm", "a", "optim.lr=0.01", "--arm", "b", "optim.lr=0.001", "--seeds", "4"]
    assert main([*arguments, "--minutes", "1e-6"]) == 1
    assert "0 of 2 runs" in capsys.readouterr().out
    assert main(arguments) == 0
    report = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [row["against"] for row in report["arms"]] == [None, "a"]
    assert [run["steps"] for run in report["runs"]] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arm", "a", "x=1", "--arm", "a", "x=2"], "same name"),
        (["--set", "eval.annotations=null"], "name the pictures to measure on"),
        (["--arm", "a", "optim.learning=1"], "unknown configuration key"),
    ],
)
def test_errors_come_before_any_training(
    arguments: list[str], message: str, base: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*base, *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*-seed*"))


def run(arm: str, seed: int, ap: float) -> Run:
    return Run(arm, seed, {"AP": ap}, 10, 1.0)


def test_differences_are_taken_within_a_seed() -> None:
    arms = (Arm("off", ()), Arm("on", ("x=1",), "off", 70.0))
    runs = [run("off", 0, 0.10), run("off", 1, 0.20), run("off", 2, 0.30)]
    runs += [run("on", 0, 0.11), run("on", 1, 0.22), run("on", 2, 0.33)]
    off, on = ablation_report.summarise(arms, runs, 6)["arms"]
    assert (off["mean"], off["deviation"], off["difference"]) == (pytest.approx(20), pytest.approx(10), None)
    change = on["difference"]
    assert (change["mean"], change["deviation"]) == (pytest.approx(2), pytest.approx(1))
    # t with 2 degrees of freedom: 4.303 standard errors of 1 / sqrt(3) to either side
    assert change["interval_95"] == pytest.approx([2 - 2.484, 2 + 2.484], abs=1e-3)
    assert change["p"] == pytest.approx(0.0742, abs=1e-3)


@pytest.mark.parametrize(
    ("runs", "has_difference"),
    [
        ([], False),
        ([("off", 0), ("on", 0)], False),
        ([("off", 0), ("off", 1), ("on", 0)], False),
        ([("off", 0), ("off", 1), ("on", 0), ("on", 1)], True),
    ],
)
def test_unfinished_ablations_are_reported_as_far_as_they_are(
    runs: list[tuple[str, int]], has_difference: bool
) -> None:
    arms = (Arm("off", ()), Arm("on", (), "off"))
    report: dict[str, Any] = ablation_report.summarise(arms, [run(arm, seed, 0.5) for arm, seed in runs], 4)
    assert (report["arms"][1]["difference"] is not None) == has_difference
    text = ablation_report.markdown(report)
    assert f"{len(runs)} of 4 runs" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_the_arms_are_those_of_the_paper() -> None:
    assert [arm.name for arm in TABLE4] == ["neither", "embedding loss", "box head", "both", "both, published-1"]
    names = [ablation.folder_of(Path("out"), arm, 0) for arm in TABLE4]
    assert len(set(names)) == len(names)
