"""The wheel: what is in it, and that it works alone in an empty environment (without torch, far from the source)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import boir_sdk
from tests.conftest import ROOT

CONSTRAINTS = (ROOT / "constraints.txt").as_uri()
PICTURE = ROOT / "demos" / "people.jpg"
RUNTIME_PACKAGES = {"boir-sdk", "numpy", "opencv-python", "openvino", "openvino-telemetry"}
INSTALLERS = {"pip", "setuptools", "wheel"}


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command that must succeed, away from the source and without its import path; return its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PIP_CONSTRAINT": CONSTRAINTS, "PIP_BUILD_CONSTRAINT": CONSTRAINTS}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an empty environment into which only the wheel was installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run([programs / "python", "-m", "pip", "install", "--quiet", wheel], folder)
    return programs


def test_everything_in_the_packages_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    here = {
        path.relative_to(folder).as_posix()
        for folder in (ROOT / "sdk", ROOT / "train", ROOT / "convert")
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".tmp")
    }
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == here
    needed = {f"{package}/py.typed" for package in ("boir_sdk", "boir_train", "boir_convert")}
    models = {
        f"boir_sdk/models/{name}/{file}" for name in ("default", "small") for file in ("manifest.json", "README.md")
    }
    assert needed | models <= inside
    assert any(re.fullmatch(r"boir_train/configs/.+\.yaml", name) for name in inside)


def test_the_licences_and_commands_are_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert info == f"boir_sdk-{boir_sdk.__version__}.dist-info"
        for name in ("LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"):
            assert archive.read(f"{info}/licenses/{name}") == (ROOT / name).read_bytes()
        commands = archive.read(f"{info}/entry_points.txt").decode()
    assert set(re.findall(r"^(\S+) = ", commands, re.MULTILINE)) == {"boir", "boir-train", "boir-eval", "boir-convert"}


def test_the_runtime_needs_three_packages(installed: Path, tmp_path: Path) -> None:
    listed = json.loads(run([installed / "python", "-m", "pip", "list", "--format", "json"], tmp_path))
    assert {package["name"].lower() for package in listed} - INSTALLERS == RUNTIME_PACKAGES


def test_predict_works_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert run([installed / "boir", "--version"], tmp_path) == f"boir {boir_sdk.__version__}\n"
    record = json.loads(run([installed / "boir", "predict", PICTURE, "--overlay", "o.jpg", "--json"], tmp_path))
    assert (record["width"], record["height"]) == (480, 270)
    assert len(record["people"]) >= 2
    assert (tmp_path / "o.jpg").stat().st_size > 1000
    assert json.loads(run([installed / "boir", "info", "--json"], tmp_path))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_one_picture_takes_less_than_250_mb_and_no_training_library(installed: Path, tmp_path: Path) -> None:
    # VmHWM and not getrusage: the latter carries over what the parent process had before it started this one.
    code = f"""
import re, sys
from boir_sdk import PoseEstimator
with PoseEstimator() as estimator:
    people = len(estimator({str(PICTURE)!r}))
heavy = {{"torch", "onnx", "nncf", "pycocotools", "matplotlib"}} & set(sys.modules)
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
print(people, len(heavy), peak_kb)
"""
    people, heavy, peak_kb = map(int, run([installed / "python", "-c", code], tmp_path).split())
    assert people >= 2
    assert heavy == 0
    assert peak_kb * 1024 < 250e6
