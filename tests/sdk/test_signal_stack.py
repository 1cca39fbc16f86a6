"""OpenVINO replaces the alternate signal stack (openvino#11894); ours stays, so that Ctrl-C works afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import ctypes, faulthandler, gc, os, signal, sys
import numpy as np
from boir_sdk import PoseEstimator
from boir_sdk.signal_stack import _Stack

def stack():
    now = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) == 0
    return now.pointer, now.flags, now.size

if sys.argv[1] == "faulthandler":
    faulthandler.enable()  # has an alternate stack of its own, as pytest does
before = stack()
picture = np.zeros((64, 64, 3), np.uint8)
first = PoseEstimator(size=192)
second = PoseEstimator(size=192)  # two at a time: whichever goes last puts the other's stack back
first(picture), second(picture)
assert stack() == before, (before, stack())
del first
gc.collect()
del second
gc.collect()
assert stack() == before, (before, stack())
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGINT)
assert heard
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the alternate stack is replaced on Linux only")
@pytest.mark.parametrize("kind", ["plain", "faulthandler"])
def test_ctrl_c_after_estimators_are_gone_is_no_crash(kind):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "sdk",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
