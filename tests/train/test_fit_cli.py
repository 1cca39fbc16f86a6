"""`boir-train fit` as a command, with the tiny network in place of the real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import yaml

from boir_train import snapshot
from boir_train.cli.main import main
from tests.conftest import ROOT
from tests.support.tiny_training import tiny_config, write_data_set


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("fit") / "set", 8)


def write_config(path: Path, data: Path, **sections: Any) -> Path:
    path.write_text(yaml.safe_dump(tiny_config(data, **sections)))
    return path


def command(*arguments: str | Path, module: str = "tests.support.tiny_training", ranks: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", module, *map(str, arguments)]


def boir_train(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, **options), cwd=ROOT, env=environment(), capture_output=True, text=True)


def environment() -> dict[str, str]:
    paths = [str(ROOT / name) for name in ("sdk", "train", "convert")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*paths, str(ROOT)])}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["fit", "eval", "example"]),
        (["eval", "--help"], ["--annotations", "example"]),
        (["fit", "--help"], ["example", "torchrun", "--set"]),
    ],
)
def test_help_teaches(arguments: list[str], words: list[str]) -> None:
    done = boir_train(*arguments, module="boir_train.cli.main")
    assert done.returncode == 0
    assert all(word in done.stdout for word in words)


@pytest.mark.parametrize("arguments", [[], ["fitt"], ["fit", "--bogus"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = boir_train(*arguments, module="boir_train.cli.main")
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "run"], "--config is missing"),
        (["--config", "coco_w32"], "--out RUN is missing"),
        (["--config", "coco_w23", "--out", "run"], "did you mean"),
        (["--config", "ochuman_w32", "--out", "run"], "evaluation only"),
        (["--config", "coco_w32", "--set", "data.root=nowhere", "--out", "run"], "no annotation file"),
        (["--config", "coco_w32", "--evaluate-only"], "no annotation file"),
    ],
)
def test_errors_are_told_on_stderr(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_from_the_command_line(data: Path, tmp_path: Path) -> None:
    file = write_config(tmp_path / "tiny.yaml", data, eval={"every": 2, "hold_out": 2}, optim={"ema": 0.9})
    folder = tmp_path / "run"
    done = boir_train("fit", "--config", file, "--set", "train.seed=5", "schedule.epochs=1", "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert resolved["train"]["seed"] == 5
    assert resolved["optim"]["lr"] == 0.01
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["kind"] == "eval"] == [2, 3]  # 6 pictures in batches of 2
    assert all("AP" in line for line in lines if line["kind"] == "eval")
    with safetensors.safe_open(folder / "best.safetensors", "pt") as weights:
        assert weights.metadata()["skeleton"] == "coco17"
    assert snapshot.read(folder).iteration == 3  # type: ignore[union-attr]

    again = boir_train("fit", "--config", file, "--out", folder)
    assert again.returncode == 1
    assert "already holds a run" in again.stderr


def test_a_stopped_run_is_resumed_from_its_own_configuration(data: Path, tmp_path: Path) -> None:
    file = write_config(tmp_path / "tiny.yaml", data, schedule={"epochs": 100_000})
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command("fit", "--config", file, "--out", folder),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    stopped_at = snapshot.read(folder).iteration  # type: ignore[union-attr]
    assert stopped_at >= 1

    done = boir_train("fit", "--out", folder, "--resume", "--set", f"train.max_iterations={stopped_at + 2}")
    assert done.returncode == 0, done.stderr
    assert snapshot.read(folder).iteration == stopped_at + 2  # type: ignore[union-attr]


def test_two_processes_learn_as_one_run(data: Path, tmp_path: Path) -> None:
    file = write_config(
        tmp_path / "tiny.yaml",
        data,
        optim={"accumulate": 2, "ema": 0.9},
        loss={"bbox": 0},  # a head without gradient, which DistributedDataParallel doesn't forgive
        train={"batch_size": 1},
        eval={"every": 2, "hold_out": 2},
    )
    folder = tmp_path / "run"
    done = boir_train("fit", "--config", file, "--out", folder, ranks=2)
    assert done.returncode == 0, done.stderr
    # 6 pictures on 2 ranks, batches of 1, 2 batches a step: 2 steps an epoch.
    saved = snapshot.read(folder)
    assert saved is not None
    assert saved.iteration == 4
    resumed = boir_train("fit", "--out", folder, "--resume", "--set", "schedule.epochs=3", ranks=2)
    assert resumed.returncode == 0, resumed.stderr
    assert snapshot.read(folder).iteration == 6  # type: ignore[union-attr]


def test_gradients_are_averaged_over_processes(data: Path, tmp_path: Path) -> None:
    # Frozen batch norms make one picture a rank equal to two pictures accumulated in one process: the mean gradient of
    # single-picture batches. Augmentation draws are by place in the epoch, so both see the same samples.
    shared: dict[str, Any] = {
        "optim": {"lr": 1e-3, "freeze": ["backbone"]},
        "train": {"batch_size": 1, "max_iterations": 3},
    }
    one = {**shared, "optim": {**shared["optim"], "accumulate": 2}}
    for name, sections, ranks in (("one", one, 1), ("two", shared, 2)):
        file = write_config(tmp_path / f"{name}.yaml", data, **sections)
        done = boir_train("fit", "--config", file, "--out", tmp_path / name, ranks=ranks)
        assert done.returncode == 0, done.stderr
    a, b = snapshot.read(tmp_path / "one"), snapshot.read(tmp_path / "two")
    assert a is not None
    assert b is not None
    for key in a.model:
        torch.testing.assert_close(a.model[key], b.model[key], rtol=1e-4, atol=1e-6)


def test_start_weights_are_measured_without_training(data: Path, tmp_path: Path) -> None:
    file = write_config(tmp_path / "tiny.yaml", data, eval={"hold_out": 2})
    done = boir_train("fit", "--config", file, "--evaluate-only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "AP"
