"""Another way to run a bundle's network, in a process of its own, timed in turns with ours.

The process is `python -m boir_convert.rivals`, for which the extra `convert` must be installed; nothing of it is
imported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType

from boir_sdk.errors import InferenceError

KINDS = ("torch", "onnxruntime", "padded")


class Rival:
    """A running rival; a context manager."""

    def __init__(self, kind: str, preset: str, skeleton: str, network: tuple[int, int], threads: int | None) -> None:
        """Start it and wait until it is ready, which may take a minute.

        Args:
            kind: one of `KINDS`.
            preset: of the network.
            skeleton: of the network.
            network: height and width of its picture, pixels.
            threads: of the CPU; None for as many as there are.

        Raises:
            InferenceError: it doesn't start; the message has its last word.
        """
        self.kind = kind
        numbers = [str(number) for number in (*network, threads or os.cpu_count() or 1)]
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "boir_convert.rivals", kind, preset, skeleton, *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._answer() != "ready":
            raise self._failure()

    def turn_ms(self) -> float:
        """Let it run once; how long it took, milliseconds.

        Raises:
            InferenceError: it has ended.
        """
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            return float(self._answer())
        except (OSError, ValueError):
            raise self._failure() from None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Rival:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        return self._process.stdout.readline().strip()

    def _failure(self) -> InferenceError:
        self._process.kill()
        said = self._process.communicate()[1].strip().splitlines() or ["it said nothing"]
        hint = ': pip install "boir-sdk[convert]"' if "No module named" in said[-1] else ""
        return InferenceError(f"{self.kind} can't be measured against: {said[-1]}{hint}")
