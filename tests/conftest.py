"""What all tests share: where the shared folder and its fixtures are, and a clear skip when they are absent."""

from __future__ import annotations

import os

# Threads that wait by spinning make a machine with other work on it ten times slower; torch reads this at its import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import hypothesis
import pytest

# An example that takes long on a busy machine is no failure: no test asserts a time.
hypothesis.settings.register_profile("any speed", deadline=None)
hypothesis.settings.load_profile("any speed")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BOIR_SHARED", ROOT.parent / "shared"))
FIXTURES = Path(os.environ.get("BOIR_FIXTURES", SHARED / "reference" / "fixtures"))
FIXTURES_TRAIN = Path(os.environ.get("BOIR_FIXTURES_TRAIN", SHARED / "reference" / "fixtures-train"))


@pytest.fixture(scope="session")
def second_graph(shared: Path) -> Path:
    """The public graph that the second trunk of `small` starts from."""
    path = shared / "peers" / "human-pose-estimation-0001-int8.xml"
    if not path.is_file():
        pytest.skip(f"needs the second trunk's start, not found at {path}")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared folder, not found at {SHARED} (set BOIR_SHARED)")
    return SHARED
