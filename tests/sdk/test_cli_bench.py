"""`boir bench` as a command."""

from __future__ import annotations

import json

import pytest

from boir_sdk import first_result
from boir_sdk.cli import bench
from boir_sdk.cli.main import main
from boir_sdk.first_result import Start

FAST = ["bench", "--sizes", "192", "--threads", "2", "--rounds", "1"]


def test_table_json_and_plot(tmp_path, capsys):
    out, plot = tmp_path / "deep" / "bench.json", tmp_path / "bench.svg"
    command = [*FAST, "--people", "10", "1", "0", "--no-start", "--json", str(out), "--plot", str(plot)]
    assert main(command) == 0
    said = capsys.readouterr().out
    report = json.loads(out.read_text())
    (result,) = report["results"]
    assert [row["people"] for row in result["rows"]] == [0, 1, 10]
    assert result["setting"]["size"] == 192
    assert report["picture"] == {"height": 720, "width": 1280}
    assert len(report["machine"]["load_after"]) == 3
    assert f"{result['ten_to_one']:.2f} times" in said
    assert f"{100 * result['person_share']:.1f} % of the dense" in said
    assert plot.read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["bench.json", "bench.svg"]


def test_layers_are_a_table_and_in_the_json(tmp_path, capsys):
    out = tmp_path / "bench.json"
    assert main([*FAST, "--people", "1", "--no-start", "--layers", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "layers of the dense graph, 192 x 1" in text
    assert "the person graph reaches" in text
    dense, person = json.loads(out.read_text())["layers"]
    assert (dense["part"], person["part"]) == ("dense", "person")
    assert dense["whole"]["count"] == len(dense["layers"]) > 50
    assert sum(layer["milliseconds"] for layer in dense["layers"]) == pytest.approx(dense["whole"]["milliseconds"])


def test_settings_are_all_combinations_and_starts_are_measured(tmp_path, monkeypatch, capsys):
    asked = []
    said = Start(0.5, 90.0)
    monkeypatch.setattr(first_result, "start", lambda setting, cache: asked.append((setting, cache)) or said)
    out = tmp_path / "bench.json"
    command = ["bench", "--sizes", "192", "256", "--threads", "1", "--people", "0", "--rounds", "1", "--json", str(out)]
    assert main(command) == 0
    results = json.loads(out.read_text())["results"]
    assert [result["size"] for result in results] == [192, 256]
    assert [result["cold"] for result in results] == [{"first_result_s": 0.5, "peak_mb": 90.0}] * 2
    assert [setting.size for setting, _ in asked] == [192] * 3 + [256] * 3
    assert [cache is None for _, cache in asked] == [False, True, False] * 2
    assert capsys.readouterr().out.count("new process to first result: 0.50 s, 90 MiB") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--help"], 0, "prepare"),
        (["--people", "-1"], 2, "at least 0"),
        (["--rounds", "0"], 2, "at least 1"),
        (["--sizes", "300"], 1, "size 300"),
        (["--people", "31"], 1, "30 people"),
        (["--precision", "fp64"], 1, "fp64"),
        (["--device", "TPU"], 1, "TPU"),
        (["--picture", "nowhere.jpg"], 1, "nowhere.jpg"),
        (["/nowhere"], 1, "nowhere"),
    ],
)
def test_exit_codes(arguments, code, says, capsys):
    try:
        ended = main(["bench", *arguments])
    except SystemExit as end:  # argparse
        ended = end.code
    said = capsys.readouterr()
    assert ended == code
    assert says in said.out + said.err


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([*FAST, "--people", "0", "--no-start", "--json", str(tmp_path / "file" / "out.json")]) == 1
    assert "can't write" in capsys.readouterr().err


def test_ctrl_c_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("boir_sdk.benchmark.measure", lambda *_, **__: [])
    out = tmp_path / "bench.json"
    assert main([*FAST, "--json", str(out)]) == 130
    assert not out.exists()


def test_load_is_worded_where_there_is_none():
    assert bench._load({"load": None, "load_after": [1.25, 0, 0]}) == "unknown, 1.2"
