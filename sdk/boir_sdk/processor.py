"""What this machine's processor can do, as Linux names it."""

from __future__ import annotations

from pathlib import Path


def flags() -> frozenset[str] | None:
    """Return the processor's instruction flags (`avx2`, `amx_int8`, ...), or None where the system has no list."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:  # long where there are many cores: no further
            found = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    except OSError:
        return None
    return None if found is None else frozenset(found.split(":", 1)[1].split())
