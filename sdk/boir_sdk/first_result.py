"""A new process from nothing to the poses of its first picture: how long, and in how much memory."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from boir_sdk.errors import InferenceError
from boir_sdk.feeding import Setting, feed, frame
from boir_sdk.process_memory import peak_mb

TIMEOUT_S = 300
_CHILD = "import sys; from boir_sdk.first_result import report; report(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Start:
    """A new process from nothing to the poses of its first picture.

    Attributes:
        first_result_s: seconds from starting the interpreter.
        peak_mb: the most memory it ever had resident, MiB; None where the system doesn't tell.
    """

    first_result_s: float
    peak_mb: float | None


def starts_of(setting: Setting) -> tuple[Start, Start]:
    """Start processes without a cache, and with one that another has filled; that one also warmed the disk's cache.

    Raises:
        InferenceError: as `start`.
    """
    with tempfile.TemporaryDirectory(prefix="boir-bench-") as folder:
        start(setting, Path(folder))
        return start(setting, None), start(setting, Path(folder))


def report(request: str) -> None:
    """The child's side of a start: look at one picture, print what `Start` wants as JSON.

    Args:
        request: JSON with `started`, the time that the parent started this process, `cache_dir` and the setting.
    """
    asked = json.loads(request)
    cache = asked["cache_dir"]
    with Setting(**asked["setting"]).estimator(None if cache is None else Path(cache)) as estimator:
        feed(estimator).people = 1
        estimator(frame())
        first_s = time.time() - asked["started"]
    print(json.dumps({"first_result_s": first_s, "peak_mb": peak_mb()}))


def start(setting: Setting, cache_dir: Path | None) -> Start:
    """Start a process that looks at one picture with one person in it.

    Raises:
        InferenceError: it failed or took more than `TIMEOUT_S`.
    """
    request = {"cache_dir": None if cache_dir is None else str(cache_dir), "setting": dataclasses.asdict(setting)}
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _CHILD, json.dumps({**request, "started": time.time()})],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise InferenceError(f"a process that looks at one picture took over {TIMEOUT_S} s") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise InferenceError(f"a process that looks at one picture failed ({error.returncode}): {last}") from None
    return Start(**json.loads(done.stdout.splitlines()[-1]))
