"""Ctrl-C for every command at random moments between its first lines and its end (see `tests.support.signalled`)."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support import signalled

LONGEST_S = 6.0  # commands that run until they are stopped


def run(moments: int, names: list[str] | None = None) -> bool:
    """Print exit codes and what was wrong, a line a command; False when something was."""
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    print(f"seed {seed}", flush=True)
    fine = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        signalled.prepare(folder)
        for name in names or signalled.COMMANDS:
            takes_s = _duration(name, folder)
            codes: Counter[int] = Counter()
            wrong: list[str] = []
            slowest_s = 0.0
            for index in range(moments):
                number = signal.SIGTERM if index % 4 == 3 else signal.SIGINT
                moment = _After(draw.uniform(0, takes_s))
                ended = signalled.stopped(name, folder, moment, number)
                slowest_s = max(slowest_s, time.monotonic() - moment.came_s)
                codes[ended.code] += 1
                wrong += ended.wrong
                wrong += [f"after {moment.wait_s:.2f} s: {ended.said[-1500:]}"] if "Traceback" in ended.said else []
                wrong += [f"exit code {ended.code} after {moment.wait_s:.2f} s: {ended.said[-300:]}"] * (
                    ended.code not in (0, 130, -number)  # the last: in the interpreter's last moments, after all work
                )
            fine &= not wrong
            print(f"{name:10} {takes_s:5.1f} s, codes {dict(codes)}, ended within {slowest_s:.1f} s", flush=True)
            for line in wrong:
                print(f"    {line}", flush=True)
    return fine


class _After:
    """The moment some time after the command's first lines."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s, self.came_s = wait_s, time.monotonic()
        self._started_s: float | None = None

    def __call__(self, process: subprocess.Popen[bytes], out: Path) -> bool:
        if self._started_s is None and signalled.started(process, out):
            self._started_s = time.monotonic()
        self.came_s = time.monotonic()
        return self._started_s is not None and self.came_s >= self._started_s + self.wait_s


def _duration(name: str, folder: Path) -> float:
    """How long a command runs if it is left alone, at most `LONGEST_S`."""
    begin_s = time.monotonic()
    signalled.stopped(name, folder, lambda process, out: time.monotonic() > begin_s + LONGEST_S, signal.SIGKILL)
    return min(time.monotonic() - begin_s, LONGEST_S)
