"""`PoseEstimator`: a picture in, everyone's keypoints out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import budget, looks, oks, runtime, warp
from boir_sdk import bundle as bundles
from boir_sdk import image as images
from boir_sdk.errors import InputError
from boir_sdk.lanes import LANES
from boir_sdk.poses import Poses
from boir_sdk.skeleton import get_skeleton

if TYPE_CHECKING:
    from boir_sdk.stream.health import Limits
    from boir_sdk.stream.pipeline import Stream


FAINT = 0.4  # share of the score threshold down to which streams keep people whom they follow


class PoseEstimator:
    """Finds every person of a picture and that person's keypoints.

    Safe to call from any number of threads of the process that made it; the same picture gives the same bits.

    Example:
        >>> estimator = PoseEstimator()  # doctest: +SKIP
        >>> poses = estimator("people.jpg")  # doctest: +SKIP
        >>> poses.keypoints.shape  # doctest: +SKIP
        (4, 17, 2)
    """

    def __init__(
        self,
        model: str | Path = "default",
        *,
        device: str = "CPU",
        size: int | None = None,
        precision: str | None = None,
        score_threshold: float | None = None,
        max_people: int = 30,
        threads: int | None = None,
        cache_dir: str | Path | None = None,
        flip_test: bool = False,
        budget_ms: float | None = None,
        second_look: bool | None = None,
    ) -> None:
        """Read and verify a bundle.

        Args:
            model: folder of a bundle, or `default` or `small` for one inside this package.
            device: OpenVINO's name: `CPU`, `GPU`, `NPU`, `AUTO`, ...
            size: network pixels of the side that the bundle's `fit_rule` names; None for the bundle's default.
            precision: one of the bundle's (`fp32`, `fp16`, `int8`), or `bf16` or `int8+bf16`, its graph with floats
                computed in bfloat16, where the processor can; None for the bundle's default.
            score_threshold: people below it are left out, 0..1; None for the bundle's.
            max_people: at most so many a picture, 1 to the bundle's limit.
            threads: CPU threads of an inference; None for OpenVINO's choice.
            cache_dir: folder where OpenVINO may keep compiled graphs, so that the next start is faster.
            flip_test: look at the mirrored picture too: a little better, twice the time.
            budget_ms: choose the largest size whose pictures take at most so long here, and of the bundle's precisions,
                unless one is named, the most exact that does so; measured now (`boir_sdk.budget`).
            second_look: look at the picture in half size too, for large people (`boir_sdk.looks`); None as the bundle
                says for the size.

        Raises:
            BundleError: the bundle is missing, damaged or unknown.
            InputError: an argument is out of range or contradicts another.
            InferenceError: the device isn't there or can't run the bundle.
        """
        self._bundle = bundles.read(model)
        manifest = self._bundle.manifest
        if size is not None and budget_ms is not None:
            raise InputError("give either size or budget_ms: a budget chooses the size")
        if size is not None and size not in manifest.sizes:
            raise InputError(f"size {size!r} is not offered by {manifest.name}: it has {_listed(manifest.sizes)}")
        if type(max_people) is not int or not 1 <= max_people <= manifest.max_people:
            raise InputError(f"max_people is {max_people!r}, expected 1 to {manifest.max_people}")
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise InputError(f"score_threshold is {score_threshold!r}, expected 0 to 1")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError(f"threads is {threads!r}, expected a positive whole number or None")
        if budget_ms is not None and not budget_ms > 0:
            raise InputError(f"budget_ms is {budget_ms!r}, expected milliseconds above 0")
        if second_look and not manifest.second_look_px:
            raise InputError(f"second_look: {manifest.name} was not made for a second look at a picture")
        self._skeleton = get_skeleton(manifest.skeleton)
        self._max_people = max_people
        self._threshold = manifest.score_threshold if score_threshold is None else float(score_threshold)
        self._views = 2 if flip_test else 1

        def started(precision: str) -> runtime.Runtime:
            options = runtime.Options(
                device=device,
                precision=precision,
                threads=threads,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                views=self._views,
            )
            return runtime.Runtime(self._bundle, options)

        if budget_ms is None:
            self._runtime = started(manifest.default_precision if precision is None else precision)
            self._size, self._why = size or manifest.default_size, "asked for" if size else "the bundle's default"
        else:
            runtimes = {name: started(name) for name in (manifest.precisions if precision is None else (precision,))}
            choice = budget.choose(
                runtimes, manifest, budget_ms, views=self._views, second_look=second_look, max_people=max_people
            )
            self._runtime, self._size, self._why = runtimes.pop(choice.precision), choice.size, choice.why
            for other in runtimes.values():
                other.close()
        self._second_look = second_look
        if second_look is None:
            self._second_look = looks.by_default(manifest.second_look_px, manifest.second_look_from, self._size)

    def __call__(self, image: Any) -> Poses:
        """Find the people of one picture.

        Args:
            image: path, encoded bytes, uint8 or uint16 array [H, W, 3] in BGR order (or [H, W], [H, W, 1], [H, W, 4]),
                or a PIL picture; see `boir_sdk.image.read`.

        Returns:
            People in falling order of score, in pixels of the picture.

        Raises:
            InputError: it isn't a picture, or too elongated for the network.
            InferenceError: closed, after a fork, or OpenVINO failed.
        """
        return self._people(image, self._threshold)

    def _people(self, image: Any, threshold: float) -> Poses:
        """Find the people of one picture that score `threshold` or more."""
        picture = images.read(image)
        manifest = self._bundle.manifest
        height, width = picture.shape[:2]
        fit = warp.fit_as(manifest, height, width, self._size)
        network = warp.apply(picture, fit)
        full = self._look(network, threshold, fit)
        if not self._second_look:
            return full
        smaller, fits = warp.again(
            picture, network, fit, lambda rows, columns: warp.fit_as(manifest, rows, columns, self._size // 2)
        )
        half = self._look(smaller, threshold, *fits)
        scale = fit.affine[0, 0]  # network pixels of one of the picture
        joined = looks.join(full, half, manifest.second_look_px / scale)
        return joined[: self._max_people] if len(joined) > self._max_people else joined

    def _look(self, network: NDArray[np.uint8], threshold: float, *fits: warp.Fit) -> Poses:
        """Find the people of a network picture [H, W, 3], in pixels of the picture that `fits` lead back to."""
        manifest = self._bundle.manifest
        views = network[None]
        if self._views == 2:
            views = np.concatenate([views, views[:, :, ::-1]])
        # A person's score is the centre's times a mean of peaks of at most 1, so who is below the threshold as a centre
        # already would be found for nothing.
        centers_from = max(manifest.center_threshold, float(np.nextafter(np.float32(threshold), np.float32(0))))
        found = self._runtime.infer(views, max_people=self._max_people, threshold=centers_from)
        keypoints = found.keypoints[:, :, :2]
        for fit in fits:
            keypoints = warp.back(keypoints, fit)
        keypoint_scores = found.keypoints[:, :, 2] * found.center_scores[:, None]  # SPEC-model M4.7
        scores = keypoint_scores.mean(axis=1, dtype=np.float32)
        kept = oks.suppress(keypoints, scores, self._skeleton.sigmas, manifest.oks_threshold)
        kept = kept[scores[kept] >= threshold]
        return Poses(keypoints[kept], keypoint_scores[kept], scores[kept], self._skeleton)

    def batch(self, pictures: Iterable[Any]) -> Iterator[Poses]:
        """Find the people of many pictures, in order, while the next ones are already being worked on.

        Args:
            pictures: anything `__call__` takes; read lazily, a few ahead.

        Yields:
            The people of each picture, in the order of the pictures.

        Raises:
            InputError: at the place of a picture that can't be used; the pictures before it have been given out.
        """
        waiting: deque[Future[Poses]] = deque()
        with ThreadPoolExecutor(LANES, thread_name_prefix="boir-batch") as pool:
            try:
                for picture in pictures:
                    waiting.append(pool.submit(self, picture))
                    if len(waiting) > LANES:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def stream(
        self,
        source: Any,
        *,
        track: bool = False,
        smooth: bool = False,
        policy: str | None = None,
        limits: Limits | None = None,
    ) -> Stream:
        """Find the people of a camera, video or any other source of frames, one result a frame.

        A live source is never given up: silence is reported as an event, and it is reached for again.

        Args:
            source: number of a camera, URL, video file, folder of pictures, ...: see `boir_sdk.stream.open_source`.
            track: give people identities over time (`poses.ids`), and keep who is followed down to two fifths of the
                score threshold: people half hidden score low.
            smooth: smooth keypoints over time.
            policy: `latest` leaves out frames rather than lag (the default of live sources), `all` takes every frame
                once (the default of others).
            limits: time limits of live sources; None for the defaults.

        Returns:
            An iterator of `boir_sdk.stream.StreamResult`; close it, use it in a `with` statement or let go of it.

        Raises:
            InputError: there is no such file, it isn't a source, or the policy is unknown.
        """
        return self.streams([source], track=track, smooth=smooth, policy=policy, limits=limits)

    def streams(
        self,
        sources: Sequence[Any],
        *,
        track: bool = False,
        smooth: bool = False,
        policy: str | None = None,
        limits: Limits | None = None,
    ) -> Stream:
        """Find the people of several sources at a time; they take turns, and one that is slow or gone holds up none.

        Args:
            sources: each as for `stream`.
            track: see `stream`; identities of different sources have nothing to do with each other.
            smooth: see `stream`.
            policy: see `stream`; one for all sources.
            limits: see `stream`.

        Returns:
            As for `stream`; a result's `source` says where it is from, and each source that ends says so in an event.

        Raises:
            InputError: a source can't be one, or there is none.
        """
        from boir_sdk.stream.pipeline import Stream
        from boir_sdk.stream.source import open_source

        if isinstance(sources, (str, bytes)):
            raise InputError("streams takes a list of sources: use stream for a single one")
        opened = [open_source(source, limits) for source in sources]
        return Stream(
            partial(self._people, threshold=self._threshold * FAINT) if track else self,
            opened,
            self._skeleton,
            new_score=self._threshold,
            track=track,
            smooth=smooth,
            policy=policy,
            limits=limits,
            workers=LANES,
        )

    @property
    def info(self) -> dict[str, Any]:
        """The model, device, precision asked and effective, sizes and thresholds, and why they were chosen.

        The effective precision is what the compiled graph reports, so it is None until the first picture.
        """
        manifest = self._bundle.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "bundle": str(self._bundle.path),
            "preset": manifest.preset,
            "skeleton": manifest.skeleton,
            "protocol": manifest.protocol,
            **self._runtime.describe(),
            "size": {"used": self._size, "why": self._why, "offered": list(manifest.sizes), "rule": manifest.fit_rule},
            "flip_test": self._views == 2,
            "second_look": self._second_look,
            "max_people": self._max_people,
            "thresholds": {
                "score": self._threshold,
                "followed": self._threshold * FAINT,
                "center": manifest.center_threshold,
                "keypoint": manifest.keypoint_threshold,
                "oks": manifest.oks_threshold,
            },
        }

    def close(self) -> None:
        """Let go of the compiled graphs; the estimator can't be used afterwards."""
        self._runtime.close()

    def __enter__(self) -> PoseEstimator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))
