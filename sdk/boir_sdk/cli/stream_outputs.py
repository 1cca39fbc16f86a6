"""The outputs of `boir stream`: which files, windows and pages a run has, checked before anything is opened."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from boir_sdk.errors import ConfigError

if TYPE_CHECKING:
    from boir_sdk.stream.result import StreamResult
    from boir_sdk.stream.sink import Sink, WindowSink
    from boir_sdk.stream.source import Source

TOKEN_VARIABLE = "BOIR_PREVIEW_TOKEN"  # noqa: S105 - the name of a variable


def check(args: argparse.Namespace) -> None:
    """Refuse outputs that contradict each other or the sources.

    Raises:
        ConfigError: not one output for each source, one file for two things, or a file that is a source too.
    """
    count = len(args.sources)
    for option, paths in (("--out", args.out), ("--json", args.lines), ("--coco", args.coco)):
        shared = option == "--json" and len(paths) == 1  # its lines name their source
        if paths and len(paths) != count and not shared:
            raise ConfigError(
                f"{count} sources but {len(paths)} {option}: give {option} once for each source, in the same order"
            )
    files = [path for path in [*args.out, *args.lines, *args.coco] if str(path) != "-"]
    files += [path.with_name(f"{path.stem}.images.json") for path in args.coco]
    places = [os.path.realpath(path) for path in files]
    for path, place in zip(files, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"{path} is to be written by two outputs: give each its own file")
        if any("://" not in source and os.path.realpath(source) == place for source in args.sources):
            raise ConfigError(f"the output {path} would replace a source: choose another name")
    if args.lines.count(Path("-")) > 1:
        raise ConfigError("standard output takes the lines of all sources: give --json - once")
    for option, value in (("--serve-on", args.serve_on), ("--serve-name", args.serve_name)):
        if value and args.serve is None:
            raise ConfigError(f"{option} is about the browser preview: give --serve PORT too")


def name_apart(sources: Sequence[Source]) -> None:
    """Give sources whose names are the same (credentials are hidden in them) numbers, for results go by name."""
    seen: dict[str, int] = {}
    for source in sources:
        name = source.name
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            source.name = f"{name} ({seen[name]})"


class Outputs:
    """All sinks of a run. Closing finishes every file, also when one of them fails."""

    def __init__(
        self,
        args: argparse.Namespace,
        sources: Sequence[Source],
        *,
        keypoint_threshold: float,
        score_threshold: float,
        say: Callable[[str], None],
    ) -> None:
        """Open them.

        Args:
            args: as `check` accepted them.
            sources: in the order of the command, with different names.
            keypoint_threshold: keypoints with a lower score aren't drawn.
            score_threshold: where the preview's slider begins.
            say: prints a line for the user, such as the preview's address.

        Raises:
            BoirError: one of them can't be opened.
        """
        from boir_sdk.stream.sink import CocoSink, JsonLinesSink, VideoSink, WindowSink

        self._of: dict[str, list[Sink]] = {source.name: [] for source in sources}
        self._windows: list[WindowSink] = []
        self._say = say
        with ExitStack() as stack:
            if args.serve is not None:
                preview = stack.enter_context(self._preview(args, keypoint_threshold, score_threshold))
                self._add(sources, [preview] * len(sources))
            if args.show:
                windows = [
                    stack.enter_context(WindowSink(source.name, keypoint_threshold=keypoint_threshold))
                    for source in sources
                ]
                self._windows = windows
                self._add(sources, windows)
            for source, path in zip(sources, args.out, strict=False):
                realtime = args.policy == "latest" or (source.live and args.policy is None)
                video = VideoSink(path, realtime=realtime, keypoint_threshold=keypoint_threshold)
                self._add([source], [stack.enter_context(video)])
            lines = [stack.enter_context(JsonLinesSink(path)) for path in args.lines]
            self._add(sources, lines * len(sources) if len(lines) == 1 else lines)
            self._add(sources, [stack.enter_context(CocoSink(path)) for path in args.coco])
            self._stack = stack.pop_all()

    def _add(self, sources: Sequence[Source], sinks: Sequence[Sink]) -> None:
        for source, sink in zip(sources, sinks, strict=False):
            self._of[source.name].append(sink)

    def _preview(self, args: argparse.Namespace, keypoint_threshold: float, score_threshold: float) -> Sink:
        from boir_sdk.preview import Preview
        from boir_sdk.preview.access import is_loopback, new_token

        address = args.serve_on or "127.0.0.1"
        token = os.environ.get(TOKEN_VARIABLE) or (None if is_loopback(address) else new_token())
        preview = Preview(
            args.serve,
            address=address,
            token=token,
            hosts=args.serve_name,
            score_threshold=score_threshold,
            keypoint_threshold=keypoint_threshold,
            on_link=lambda link: self._say(f"boir: the next viewer's link, good once: {link}"),
        )
        once = " (good once)" if token else ""
        self._say(f"boir: preview at {preview.link}{once}")
        return preview

    def write(self, result: StreamResult) -> None:
        """Hand a result to the sinks of its source."""
        for sink in self._of[result.source]:
            sink.write(result)

    @property
    def left(self) -> bool:
        """Whether the user closed the windows."""
        return bool(self._windows) and all(window.closed for window in self._windows)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def say(text: str) -> None:
    """Print a line for the user on stderr."""
    print(text, file=sys.stderr, flush=True)
