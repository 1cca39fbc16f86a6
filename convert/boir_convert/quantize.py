"""INT8 by post-training quantisation with NNCF; docs/quantization.md has the study behind the choices here."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import nncf
import numpy as np
from numpy.typing import NDArray

from boir_convert.progress import Progress
from boir_sdk import signal_stack, telemetry
from boir_sdk.errors import ConfigError
from boir_sdk.quiet_openvino import ov

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_QUANTISABLE = (*_CONVOLUTIONS, "Add", "Subtract", "Multiply", "Interpolate", "MatMul", "AvgPool", "MaxPool", "Concat")


@dataclass(frozen=True, slots=True)
class Islands:
    """What stays in float of a dense graph; patterns are of the operations' names, which are those of the modules.

    Attributes:
        start: patterns; what matches, and everything that depends on it, stays in float.
        first: so many convolutions from the picture on stay in float (behind a batch norm they have no module's name).
    """

    start: tuple[str, ...] = ()
    first: int = 0

    def described(self) -> list[str]:
        """In words, for a bundle's provenance."""
        words = [f"{pattern} and what follows" for pattern in self.start]
        return [*words, f"the first {self.first} convolutions"] if self.first else words


# nano: from the pyramid on every output is a position or a score.
_NANO = Islands(start=(r"\.backbone\.lat[2-5]/", r"\.context\.from_c(4b|5)/"))
# The paper's networks: the stem makes a fifth of the noise in 2 % of the arithmetic; from the last convolution of the
# centre head on, and in the shared maps, every output is a score, a position or what people are told apart by.
_PAPER = Islands(first=2, start=(r"\.center_head\.head\.1/", r"__module\.shared"))
# The second trunk was quantised from its stem to its outputs by Intel; what is made of its heatmaps is a position.
_SMALL = Islands(start=(*_NANO.start, r"\.second\.trunk\.heatmaps\.out/"))
ISLANDS = {"nano": _NANO, "nano-pure": _NANO, "small": _SMALL, "w32": _PAPER, "w48": _PAPER}


@dataclass(frozen=True, slots=True)
class _Counted:
    """Pictures that tell how far NNCF is with them."""

    pictures: Sequence[NDArray[np.uint8]]
    progress: Progress

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return self.progress.each(self.pictures, "calibrating int8", len(self.pictures), "picture")


def quantise(
    dense: ov.Model, pictures: Sequence[NDArray[np.uint8]], islands: Islands, progress: Progress | None = None
) -> ov.Model:
    """Quantise a dense graph.

    Weights are quantised per output channel and to half of the range: processors without VNNI add pairs of products in
    16 bits, and full weights would overflow there. Bias correction is off: NNCF's fast form brought the maps of
    `nano` two to three dB nearer, and no AP.

    Args:
        dense: as `boir_convert.export` makes it; it is left as it is.
        pictures: as the graph takes them, uint8 BGR [1, H, W, 3], of any sizes.
        islands: what stays in float.
        progress: tells how far it is; None keeps quiet.

    Returns:
        A graph with the same inputs and outputs and free shapes.

    Raises:
        ConfigError: a part that is to stay in float isn't in the graph.
    """
    names = float_operations(dense, islands)
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE, disable_bias_correction=True)
    # NNCF writes a bar of its own to stdout, which belongs to our result.
    with telemetry.off(), signal_stack.preserved(), contextlib.redirect_stdout(io.StringIO()):
        # Not nncf.set_log_level: that raises the level of the program's own handlers too.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(
            dense.clone(),
            nncf.Dataset(_Counted(pictures, progress or Progress(shown=False))),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(names)),
            advanced_parameters=advanced,
        )


def float_operations(graph: ov.Model, islands: Islands) -> set[str]:
    """Names of all operations to leave in float.

    Args:
        graph: the dense graph.
        islands: what is to stay.

    Raises:
        ConfigError: a pattern matches nothing, or the graph has fewer convolutions than are to stay.
    """
    ordered = graph.get_ordered_ops()
    nodes = {node.get_friendly_name(): node for node in ordered}
    convolutions = [node.get_friendly_name() for node in ordered if node.get_type_name() in _CONVOLUTIONS]
    if len(convolutions) < islands.first:
        raise ConfigError(
            f"the graph has {len(convolutions)} convolutions, the first {islands.first} are to stay float"
        )
    chosen = set(convolutions[: islands.first])
    pending = [name for pattern in islands.start for name in _matching(nodes, pattern)]
    after: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in after:
            after.add(name)
            targets = (target for output in nodes[name].outputs() for target in output.get_target_inputs())
            pending += [target.get_node().get_friendly_name() for target in targets]
    chosen |= after
    return {name for name in chosen if nodes[name].get_type_name() in _QUANTISABLE}


def _matching(nodes: dict[str, ov.Node], pattern: str) -> set[str]:
    found = {name for name in nodes if re.search(pattern, name)}
    if not found:
        raise ConfigError(f"the graph has no operation named like {pattern!r}, which is to stay in float")
    return found
