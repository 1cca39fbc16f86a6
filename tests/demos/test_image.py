"""The demo script, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT


def demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "demos" / "image.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "sdk")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_people_are_found_and_drawn(tmp_path: Path) -> None:
    done = demo(ROOT / "demos" / "people.jpg", tmp_path / "o.png")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2
    assert all(line.startswith("person ") for line in done.stdout.splitlines())
    before, after = cv2.imread(str(ROOT / "demos" / "people.jpg")), cv2.imread(str(tmp_path / "o.png"))
    changed = np.abs(before.astype(int) - after).max(axis=2) > 30
    assert before.shape == after.shape
    assert 0.005 < changed.mean() < 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "message"), [((), 2, "python demos/image.py"), (("no.jpg", "o.jpg"), 1, "no.jpg")]
)
def test_what_goes_wrong_is_said(arguments: tuple[str, ...], code: int, message: str) -> None:
    done = demo(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
