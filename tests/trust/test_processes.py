"""Child processes: a fresh one (`spawn`) works, a fork is told clearly and comes to its end."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from boir_sdk import PoseEstimator
from tests.conftest import ROOT
from tests.support.signalled import environment

PICTURE = ROOT / "demos" / "people.jpg"


def _infer(path: str, queue: Any) -> None:
    with PoseEstimator(size=192) as estimator:
        queue.put(estimator(path).keypoints.tobytes())


def test_a_spawned_process_gives_the_same_bits() -> None:
    with PoseEstimator(size=192) as estimator:
        expected = estimator(str(PICTURE)).keypoints.tobytes()
        context = multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        children = [context.Process(target=_infer, args=(str(PICTURE), queue)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(300)
        assert [child.exitcode for child in children] == [0, 0]
        assert [queue.get(), queue.get()] == [expected, expected]
        assert expected


# Each case is a process of its own that forks and waits; the child leaves by `sys.exit`, as a worker of `os.fork` does,
# so that the interpreter takes everything apart.
FORK = """
import os, sys, threading
import numpy as np
from boir_sdk import BoirError, PoseEstimator
picture = np.zeros((64, 64, 3), np.uint8)
estimator = PoseEstimator(size=192)
estimator(picture)
stream = estimator.stream([picture] * 100)
next(stream)
going = threading.Event()
def busy():
    while not going.is_set():
        estimator(picture)
other = threading.Thread(target=busy, daemon=True)
if sys.argv[1] == "while busy":
    other.start()
cases = {
    "call": lambda: estimator(picture),
    "while busy": lambda: estimator(picture),
    "batch": lambda: list(estimator.batch([picture] * 4)),
    "close": estimator.close,
    "stream": lambda: next(stream),
    "new stream": lambda: next(estimator.stream([picture] * 3)),
    "close stream": stream.close,
    "new estimator": lambda: PoseEstimator(size=192)(picture),
}
pid = os.fork()
if pid == 0:
    try:
        cases[sys.argv[1]]()
        print("done", flush=True)
    except BoirError as error:
        print(error.code, error, flush=True)
    sys.exit(0)
_, status = os.waitpid(pid, 0)
going.set()
if other.is_alive():
    other.join()
print("child ended with", status, "parent", len(estimator(picture)), len(next(stream).poses))
"""


def _printed(code: str, *arguments: str) -> list[str]:
    """The lines that a program prints, which ends well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(multiprocessing, "get_context") or sys.platform != "linux", reason="forks")
@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("call", "inference this estimator was made before the process forked"),
        ("while busy", "inference this estimator was made before the process forked"),
        ("batch", "inference this estimator was made before the process forked"),
        ("close", "done"),
        ("stream", "inference this stream was opened before the process forked"),
        ("new stream", "inference this estimator was made before the process forked"),
        ("close stream", "done"),
        ("new estimator", "inference an estimator was made before the process forked"),
    ],
)
def test_a_forked_child_is_told_and_ends(case: str, says: str) -> None:
    child, parent = _printed(FORK, case)
    assert child.startswith(says)
    assert parent == "child ended with 0 parent 0 0"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_fork_before_any_estimator_is_no_fork_to_openvino() -> None:
    """A server that imports everything, forks its workers and makes an estimator in each works."""
    code = r"""
import os, sys
import numpy as np
from boir_sdk import PoseEstimator
from boir_sdk import runtime
pid = os.fork()
found = len(PoseEstimator(size=192)(np.zeros((64, 64, 3), np.uint8)))
os.write(1, b"%d\n" % found)  # both have one pipe: a line of print may come in two pieces
if pid:
    print("child ended with", os.waitpid(pid, 0)[1])
"""
    assert _printed(code) == ["0", "0", "child ended with 0"]


def test_an_estimator_is_not_carried_to_another_process() -> None:
    with PoseEstimator(size=192) as estimator, pytest.raises((TypeError, AttributeError), match="pickle"):
        multiprocessing.reduction.ForkingPickler.dumps(estimator)


def test_pictures_of_the_children_are_the_parents() -> None:
    """The picture of these tests has people, so equal bits mean something."""
    assert cv2.imread(str(PICTURE)) is not None
    with PoseEstimator(size=192) as estimator:
        assert len(estimator(str(PICTURE))) >= 2
        assert np.isfinite(estimator(str(PICTURE)).keypoints).all()
