"""Kill each writer many times at random moments (see `tests.support.killed_writers`)."""

from __future__ import annotations

import subprocess
import sys


def run(kills: int) -> bool:
    """Print what was found, a line a kind; False when a file was neither old nor new."""
    return (
        subprocess.run([sys.executable, "-m", "tests.support.killed_writers", str(kills)], check=False).returncode == 0
    )
