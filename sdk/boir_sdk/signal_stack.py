"""Keep a thread's alternate signal stack as it was while OpenVINO loads a plugin or compiles.

OpenVINO's CPU plugin gives the thread that loads it an alternate stack for signal handlers (openvino#11894, for AMX; so
in 2026.4) and frees it with the `Core`. With two of those alive at a time the wrong one can stay behind, freed, and
from Python 3.11 on every handler runs on that stack: a Ctrl-C then ends in a segmentation fault. So the stack that was
there before is put back at once. Can go when OpenVINO no longer replaces it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def preserved() -> Iterator[None]:
    """Run a block after which the calling thread has the alternate signal stack that it had before (Linux only)."""
    if sys.platform != "linux":
        yield
        return
    before = _Stack()
    libc = ctypes.CDLL(None, use_errno=True)
    known = libc.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            libc.sigaltstack(ctypes.byref(before), None)
