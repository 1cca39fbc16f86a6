"""A library that can't be loaded (no libGL in a slim container) is an error with a remedy, not a defect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

WHY = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One whose cv2 fails as OpenCV's wheel does where libGL is missing."""
    (tmp_path / "cv2.py").write_text(f"raise ImportError({WHY!r})\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "sdk")])}


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("kind", ["BoirError", "ImportError"])
def test_a_program_can_catch_it(environment: dict[str, str], kind: str) -> None:
    code = f"""
from boir_sdk import BoirError
try:
    from boir_sdk import PoseEstimator
except {kind} as error:
    print(error.code, error)
"""
    done = python(environment, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("install ")
    assert WHY in done.stdout and "`boir doctor`" in done.stdout


def test_the_command_says_it_in_one_line(environment: dict[str, str]) -> None:
    picture = str(ROOT / "demos" / "people.jpg")
    done = python(environment, "-m", "boir_sdk.cli.main", "predict", picture)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert WHY in done.stderr and "`boir doctor`" in done.stderr and "defect" not in done.stderr


def test_doctor_names_both_remedies_and_no_defect(environment: dict[str, str]) -> None:
    done = python(environment, "-m", "boir_sdk.cli.main", "doctor", "--json")
    assert done.returncode == 1
    findings = {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["video"]["level"] == "bad" and WHY in findings["video"]["says"]
    assert "libgl1" in findings["video"]["do"] and "opencv-python-headless" in findings["video"]["do"]
    for about in ("bundle", "inference CPU"):
        assert findings[about]["level"] == "bad"
        assert WHY in findings[about]["says"] and "above" in findings[about]["do"]
    assert findings["devices"]["level"] == "ok"
