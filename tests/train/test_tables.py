"""The paper's tables: its figures kept, ours only where the protocol is the paper's, and what is missing said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from boir_sdk.errors import DataError
from boir_train import results, tables
from boir_train.cli.main import main
from boir_train.results import RUNS, Result, Run

FIGURES = {"AP": 0.701, "AP50": 0.89, "AP75": 0.77, "AP_M": 0.65, "AP_L": 0.79, "AR": 0.76}


def content(run: Run, **changes: Any) -> dict[str, Any]:
    """What boir-eval writes of a whole evaluation of `run`."""
    crowd = {"AP_M": 0.0, "AP_L": 0.0, "AP_easy": 0.8, "AP_medium": 0.7, "AP_hard": 0.6}
    return {
        "unit": "fraction",
        **FIGURES,
        **(crowd if run.dataset == "crowdpose" else {}),
        "interval_95": [0.69, 0.71],
        "images": run.pictures,
        "people": 11004,
        "protocol": {"dataset": run.dataset, "size": run.size, "flip_test": True, "limit": None},
        "model": {"kind": "checkpoint", "preset": run.preset, "sha256": "0"},
        **changes,
    }


def given(run: Run, **changes: Any) -> dict[str, Result]:
    return {run.name: Result(run.name, f"{run.name}.json", content(run, **changes))}


def cells(filled: list[tables.Table]) -> dict[tuple[str, str, str, str], tables.Cell]:
    """Cells of our method by table, method, backbone and column."""
    return {
        (table.key, row.names["method"], row.names["backbone"], column): cell
        for table in filled
        for row in table.rows
        if row.reproduced
        for column, cell in row.cells.items()
    }


def test_the_papers_figures_are_those_of_the_shared_reference(shared: Path) -> None:
    assert tables.paper() == json.loads((shared / "reference" / "paper_tables.json").read_text())["tables"]


def test_every_figure_of_the_paper_is_there_and_ours_stand_beside_boir_alone() -> None:
    filled = tables.fill({}, Path("nowhere"))
    assert [table.key for table in filled] == ["1", "2", "3", "5", "6"]
    for table in filled:
        source = tables.paper()[table.key]["rows"]
        assert [{**row.names, **{name: cell.paper for name, cell in row.cells.items()}} for row in table.rows] == source
        for row in table.rows:
            assert row.reproduced == (row.names["method"] in ("BoIR", "BoIR*"))
            assert all(cell.ours is None for cell in row.cells.values())
            if not row.reproduced:
                assert all(cell.why is None for cell in row.cells.values())


@pytest.mark.parametrize(
    ("run", "key", "method", "backbone", "column", "expected"),
    [
        ("coco_w32", "6", "BoIR", "HRNet-W32", "AP50", 89.0),
        ("coco_w32", "3", "BoIR", "HRNet-W32", "coco_val_AR", 76.0),
        ("coco_w48", "5", "BoIR", "HRNet-W48", "AP", 70.1),
        ("coco_w48_testdev", "1", "BoIR", "HRNet-W48", "AP_L", 79.0),
        ("crowdpose_w32", "2", "BoIR", "HRNet-W32", "AP_E", 80.0),
        ("crowdpose_w32_finetune", "2", "BoIR*", "HRNet-W32", "AP_M", 70.0),  # the medium group, not medium people
        ("crowdpose_w48_finetune", "2", "BoIR*", "HRNet-W48", "AP_H", 60.0),
        ("ochuman_w32_val", "3", "BoIR", "HRNet-W32", "ochuman_val_AP", 70.1),
        ("ochuman_w48_test", "3", "BoIR", "HRNet-W48", "ochuman_test_AR", 76.0),
    ],
)
def test_a_result_fills_its_cells_and_no_others(
    run: str, key: str, method: str, backbone: str, column: str, expected: float
) -> None:
    found = cells(tables.fill(given(RUNS[run]), Path("nowhere")))
    cell = found[key, method, backbone, column]
    assert cell.ours == pytest.approx(expected)
    assert cell.why is None
    for (table, name, network, _), other in found.items():
        if other.ours is not None:
            assert RUNS[run].preset == tables.PRESETS[network]
            assert (name == "BoIR*") == run.endswith("_finetune")
            assert table in ({"3", "5", "6"} if run.startswith("coco") and not run.endswith("dev") else {key})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": 112}, "112 of 5,000 pictures"),
        ({"protocol": {"dataset": "coco", "size": 512, "flip_test": False}}, "no flip test"),
        ({"protocol": {"dataset": "coco", "size": 448, "flip_test": True}}, "size 448 instead of 512"),
        ({"protocol": {"dataset": "ochuman", "size": 512, "flip_test": True}}, "protocol ochuman instead of coco"),
        ({"protocol": {}}, "protocol None"),
        ({"model": {"preset": "nano"}}, "model nano instead of w32"),
        ({"AP": -1}, "no figures"),
    ],
)
def test_what_isnt_the_papers_protocol_is_never_put_in_its_place(changes: dict[str, Any], words: str) -> None:
    found = cells(tables.fill(given(RUNS["coco_w32"], **changes), Path("nowhere")))
    assert all(cell.ours is None for cell in found.values())
    why = found["6", "BoIR", "HRNet-W32", "AP"].why
    assert why is not None
    assert why.startswith("coco_w32: not run: coco_w32.json doesn't count")
    assert words in why


def test_results_of_test_dev_wait_for_the_servers_figures() -> None:
    run = RUNS["coco_w32_testdev"]
    without = {name: value for name, value in content(run).items() if not name.startswith("A")}
    found = cells(tables.fill({run.name: Result(run.name, "x.json", without)}, Path("nowhere")))
    assert "evaluation server" in (found["1", "BoIR", "HRNet-W32", "AP"].why or "")


def test_what_is_missing_is_named_and_with_everything_there_the_command_is_given(tmp_path: Path) -> None:
    run = RUNS["ochuman_w32_val"]
    assert results.missing(run, tmp_path) == f"not run: needs {run.annotations}, {run.images}, {run.weights}"
    (tmp_path / run.images).mkdir(parents=True)
    # The annotations under the name they are downloaded by will do.
    original = tmp_path / "data/ochuman/annotations/ochuman_coco_format_val_range_0.00_1.00.json"
    for path in (original, tmp_path / run.weights):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert results.missing(run, tmp_path) == f"not run: needs {results.command(run)}"
    assert "--dataset ochuman --size 512 --flip --json results/ochuman_w32_val.json" in results.command(run)
    testdev = RUNS["coco_w32_testdev"]
    assert results.missing(testdev, tmp_path).endswith("and the evaluation server")
    assert "--detections submitted/keypoints_cocotestdev_results.json" in results.command(testdev)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of one run of the paper, and of a small set."""
    made = tmp_path / "results"
    made.mkdir()
    (made / "coco_w32.json").write_text(json.dumps(content(RUNS["coco_w32"])))
    small = content(RUNS["coco_w32"], images=112, people=314, model={"kind": "bundle", "preset": "nano"})
    (made / "nano_val112.json").write_text(json.dumps(small))
    return made


def test_the_command_writes_both_forms_and_counts_without_timing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["benchmark", "tables", "--results", str(folder), "--root", str(tmp_path), "--repeats", "0"]
    assert main([*arguments, "--presets", "w32", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert (out / "benchmarks.md").read_text() == shown
    report = json.loads((out / "benchmarks.json").read_text())
    (six,) = [table for table in report["tables"] if table["key"] == "6"]
    assert [row["cells"]["AP"] for row in six["rows"] if row["names"]["backbone"] == "HRNet-W32"][-1] == {
        "paper": 70.6,
        "ours": pytest.approx(70.1),
        "why": None,
    }
    assert report["cost"]["presets"]["w32"]["count"]["parameters"] == 31_832_030
    assert report["cost"]["presets"]["w32"]["speed"] is None
    (other,) = report["other_results"]
    assert (other["name"], other["images"], other["figures"]["AP"]) == ("nano_val112", 112, pytest.approx(70.1))
    assert "| BoIR | HRNet-W32 | **ours** | 31.8 | 110.6 + 0.21 a person | not timed | 70.1 |" in shown
    assert "| BoIR | HRNet-W48 | **ours** | - | - | - | not run |" in shown
    assert "| single stage | BoIR | HRNet-W32 | 512 | **ours** | 70.1 | 89.0 | 77.0 | 65.0 | 79.0 | 76.0 |" in shown
    assert "* `coco_w48`: not run: needs data/coco/annotations/coco_val.json" in shown
    assert "| nano_val112 | coco | 112 | 314 | 512 | yes | 70.1 |" in shown
    for line in shown.splitlines():  # every row of a table has its header's number of cells
        if line.startswith("| --- "):
            width = line.count("|")
        elif line.startswith("| ") and not line.startswith(("| group", "| method", "| result")):
            assert line.count("|") == width, line


def test_the_timed_presets_say_how(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    from boir_train import complexity

    real = complexity.measure
    monkeypatch.setattr(complexity, "measure", lambda *a, **k: real(*a, **{**k, "picture": (96, 128), "size": 128}))
    out = tmp_path / "out"
    more = ["--presets", "nano", "--repeats", "1", "--people", "2", "--threads", "1", "--out", str(out)]
    assert main(["benchmark", "tables", *more, "--json"]) == 0
    assert "median of 1; load" in (out / "benchmarks.md").read_text()
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert cost["device"] == "cpu"
    assert cost["machine"]["threads"] == 1
    speed = cost["presets"]["nano"]["speed"]
    assert (speed["people"], speed["repeats"], speed["flip_test"]) == (2, 1, False)
    assert speed["median_ms"] > 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "can't be read as JSON"),
        ("a.json", "[]", "isn't a result of boir-eval"),
        ("a.json", json.dumps({"unit": "fraction", "images": 3}), "isn't a result of boir-eval"),
        ("a.json", json.dumps(content(RUNS["coco_w32"], AP=70.1)), "fractions from 0 to 1"),
        (None, "", "no results at"),
    ],
)
def test_files_that_are_no_results_are_named(
    name: str | None, text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / (name or "missing")
    if name is not None:
        path.write_text(text)
    assert main(["benchmark", "tables", "--results", str(path), "--repeats", "0"]) == 1
    assert message in capsys.readouterr().err


def test_two_results_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "coco_w32.json"
    again.write_text((folder / "coco_w32.json").read_text())
    with pytest.raises(DataError, match="have one name"):
        results.read([folder, again])


def test_a_device_that_isnt_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "tables", "--device", "quantum"]) == 1
    assert "--device quantum: PyTorch has no such device here" in capsys.readouterr().err


def test_runs_are_told_apart() -> None:
    assert len(RUNS) == 12
    facts = {(run.annotations, run.weights, run.dataset) for run in RUNS.values()}
    assert len(facts) == len(RUNS)
    assert all(dataclasses.asdict(run)["name"] == name for name, run in RUNS.items())


@pytest.mark.parametrize("task", ["speed", "tables", "ttest"])
def test_each_benchmark_teaches(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", task, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "exit codes:" in shown
    assert f"boir-train benchmark {task}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmark", "tables", "--threads=0"], "must be at least 1"),
        (["benchmark", "tables", "--people=two"], "must be a whole number, got 'two'"),
        (["benchmark", "tables", "--repeats=-1"], "must be at least 0"),
        (["benchmark", "tables", "--presets=w64"], "invalid choice"),
        (["visualize", "x.jpg", "--checkpoint=c", "--score-threshold=1.5"], "must be 0 to 1"),
        (["visualize", "x.jpg", "--checkpoint=c", "--score-threshold=nan"], "must be 0 to 1"),
        (["visualize", "x.jpg", "--checkpoint=c", "--score-threshold=high"], "must be a number, got 'high'"),
    ],
)
def test_numbers_out_of_range_are_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
