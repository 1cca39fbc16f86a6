"""The fake camera of the tests in a process of its own: its threads and descriptors don't count as the SDK's.

Commands come by standard input, a line each: the name of a fault, or `good`; the URL is the first line printed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from types import TracebackType

from tests.support.fake_camera import GOOD, Behaviour, FakeCamera

FAULTS: dict[str, Behaviour] = {
    "refused": Behaviour(listens=False),
    "stall": Behaviour(frames=20, ending="stall"),
    "close": Behaviour(frames=20, ending="close"),
    "cut": Behaviour(frames=20, ending="cut"),
    "reset": Behaviour(frames=20, ending="reset"),
    "silent": Behaviour(answers=False),
    "corrupt": Behaviour(corrupt=True),
    "other size": Behaviour(other_size_after=30),
    "jumps": Behaviour(jumps=((20, 3600.0), (60, -3600.0))),
    "twice": Behaviour(twice=True),
    "burst": Behaviour(burst=60, fps=5),
    "error": Behaviour(status=(("PLAY", 454),)),
}


class CameraProcess:
    """Starts the camera; `become` changes how it acts, and ends the connection that is open."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "soak.camera"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def become(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def main() -> None:
    with FakeCamera() as camera:
        print(camera.url(), flush=True)
        for line in sys.stdin:
            behaviour = FAULTS.get(line.strip(), GOOD)
            camera.go_away()
            camera.behaviour = behaviour
            if behaviour.listens:
                threading.Event().wait(0.5)  # the port is let go first
                camera.heal(behaviour)


if __name__ == "__main__":
    main()
