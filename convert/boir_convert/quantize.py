"""INT8 by post-training quantisation with NNCF; docs/quantization.md has the study behind the choices here."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Sequence

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from boir_convert import telemetry
from boir_sdk.errors import ConfigError

# Parts of `nano` that stay in float, by the names its modules have in the graph. The first block costs more accuracy
# than all blocks from the seventh on, the second comes next, and both take little time; from the pyramid on every
# output is a position or a score.
FLOAT_MODULES = (r"\.backbone\.stem/", r"\.backbone\.blocks\.[01]\.")
FLOAT_FROM = (r"\.backbone\.lat[2-5]/", r"\.context\.from_c(4b|5)/")

_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_QUANTISABLE = (*_CONVOLUTIONS, "Add", "Subtract", "Multiply", "Interpolate", "MatMul", "AvgPool", "MaxPool", "Concat")


def quantise(dense: ov.Model, pictures: Sequence[NDArray[np.uint8]]) -> ov.Model:
    """Quantise the dense graph of `nano`.

    Weights are quantised per output channel and to half of the range: processors without VNNI add pairs of products in
    16 bits, and full weights would overflow there. Bias correction is off: NNCF's fast form ran into overflows in this
    graph and gained under 1 dB.

    Args:
        dense: as `boir_convert.export` makes it; it is left as it is.
        pictures: as the graph takes them, uint8 BGR [1, H, W, 3], of any sizes.

    Returns:
        A graph with the same inputs and outputs and free shapes.

    Raises:
        ConfigError: a part that is to stay in float isn't in the graph.
    """
    names = float_operations(dense, FLOAT_MODULES, FLOAT_FROM)
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE, disable_bias_correction=True)
    # Its progress bar writes to stdout, which belongs to our result.
    with telemetry.off(), contextlib.redirect_stdout(sys.stderr):
        # Not nncf.set_log_level: that raises the level of the program's own handlers too.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(
            dense.clone(),
            nncf.Dataset(list(pictures)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(names=sorted(names)),
            advanced_parameters=advanced,
        )


def float_operations(graph: ov.Model, modules: Iterable[str], start: Iterable[str]) -> set[str]:
    """Names of all operations to leave in float.

    Args:
        graph: the dense graph.
        modules: patterns of names; what matches stays in float.
        start: patterns of names; what matches, and everything that depends on it, stays in float.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    nodes = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    chosen: set[str] = set()
    for pattern in modules:
        chosen |= _matching(nodes, pattern)
    pending = [name for pattern in start for name in _matching(nodes, pattern)]
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
