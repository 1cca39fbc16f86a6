"""The largest network size that keeps within a time on this machine, and the most exact precision that does so."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from boir_sdk import looks, warp
from boir_sdk.manifest import Manifest
from boir_sdk.runtime import Runtime

EXACTNESS = ("fp32", "fp16", "int8")  # the most exact first; fp16 computes in float32 on CPUs, so it loses nothing
PEOPLE = 3  # on the pictures that are timed
HEIGHT, WIDTH = 1080, 1920  # of these pictures
CALLS = 3  # after the one that compiles


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        size: network size, pixels.
        precision: of those asked about.
        took_ms: median time of a picture with `PEOPLE` people, or as many as may be found.
        why: a sentence for users.
    """

    size: int
    precision: str
    took_ms: float
    why: str


def choose(
    runtimes: Mapping[str, Runtime],
    manifest: Manifest,
    budget_ms: float,
    *,
    views: int,
    second_look: bool | None,
    max_people: int,
) -> Choice:
    """Time sizes from the smallest up, each precision as long as it keeps within the budget.

    Args:
        runtimes: one a precision that may be chosen, all of one bundle.
        manifest: of the bundle.
        budget_ms: milliseconds a picture may take.
        views: 2 in the flip test.
        second_look: as `PoseEstimator` takes it.
        max_people: as there.

    Returns:
        The largest size that a precision manages, and of those that manage it the most exact; the fastest at the
        smallest size if none does.

    Raises:
        InferenceError: as `Runtime.infer`.
    """
    people = min(PEOPLE, max_people)

    def timed(precision: str, size: int) -> float:
        twice = second_look
        if twice is None:
            twice = looks.by_default(manifest.second_look_px, manifest.second_look_from, size)
        sizes = (size, size // 2) if twice else (size,)
        return _median_ms(lambda: _look(runtimes[precision], manifest, sizes, views, people))

    return search(manifest.sizes, sorted(runtimes, key=EXACTNESS.index), budget_ms, timed, people)


def search(
    sizes: tuple[int, ...],
    precisions: list[str],
    budget_ms: float,
    timed: Callable[[str, int], float],
    people: int,
) -> Choice:
    """Do what `choose` does, with the clock as a parameter.

    Args:
        sizes: ascending.
        precisions: the most exact first.
        budget_ms: milliseconds a picture may take.
        timed: measures a precision at a size, milliseconds.
        people: on the pictures measured, for the sentence.
    """
    within = precisions
    best: tuple[int, str, float] | None = None
    for size in sizes:
        took_ms = {precision: timed(precision, size) for precision in within}
        within = [precision for precision in within if took_ms[precision] <= budget_ms]
        if not within:
            if best is None:
                fastest = min(took_ms, key=lambda precision: took_ms[precision])
                best = (size, fastest, took_ms[fastest])
            break
        best = (size, within[0], took_ms[within[0]])
    assert best is not None  # noqa: S101 - a manifest has sizes
    size, precision, measured = best
    managed = measured <= budget_ms
    verdict = "the largest within" if managed else "even the smallest is over"
    quality = "the most exact that is fast enough" if managed else "the fastest"
    among = f" in {precision}, {quality}" if len(precisions) > 1 else ""
    counted = f"{people} people" if people != 1 else "1 person"
    why = f"{verdict} the budget of {budget_ms:g} ms{among}: {measured:.1f} ms with {counted}"
    return Choice(size, precision, measured, why)


def _median_ms(run: Callable[[], None]) -> float:
    took_ms = []
    for _ in range(CALLS + 1):
        begin_s = time.perf_counter()
        run()
        took_ms.append(1000 * (time.perf_counter() - begin_s))
    return statistics.median(took_ms[1:])


def _look(runtime: Runtime, manifest: Manifest, sizes: tuple[int, ...], views: int, people: int) -> None:
    """Both looks at a grey picture, with so many people whatever their scores."""
    for size in sizes:
        fit = warp.fit_as(manifest, HEIGHT, WIDTH, size)
        picture = np.full((views, fit.height, fit.width, 3), 127, dtype=np.uint8)
        runtime.infer(picture, max_people=people, threshold=-1.0)
