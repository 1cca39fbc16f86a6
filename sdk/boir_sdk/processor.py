"""How many processors there are for this process, and what they can do, as Linux names it."""

from __future__ import annotations

import os
from pathlib import Path


def count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def flags() -> frozenset[str] | None:
    """Return the processor's instruction flags (`avx2`, `amx_int8`, ...), or None where the system has no list."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:  # long where there are many cores: no further
            found = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    except OSError:
        return None
    return None if found is None else frozenset(found.split(":", 1)[1].split())
