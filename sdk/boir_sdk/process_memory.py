"""What memory this process holds: the most it ever had, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def peak_mb() -> float | None:
    """Return the most memory that was ever resident, in MiB, or None where the system doesn't tell."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its peak is inherited from the process that started this one.
        line = next(
            (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")), None
        )
        return None if line is None else int(line.split()[1]) / 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return None


def give_back() -> None:
    """Return freed memory to the system where the C library keeps it otherwise (glibc)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
