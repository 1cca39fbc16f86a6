"""How near each layer of a graph runs to what the machine can do: the time its arithmetic or its bytes would need.

Nothing is imported from OpenVINO here: layers and speeds come from `boir_sdk.yardstick`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a compiled graph, as it ran.

    Attributes:
        name: of the operation it comes from.
        kind: OpenVINO's word: `Convolution`, `Subgraph` (elementwise operations in one), `Reorder`, ...
        precision: that it computes in.
        milliseconds: median of the rounds.
        multiply_adds: of convolutions and matrix products, 0 for others.
        bytes: that it reads and writes at least: every input and output once.
    """

    name: str
    kind: str
    precision: str
    milliseconds: float
    multiply_adds: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Speeds:
    """What the machine reached in the same run, a millisecond: in good convolutions, and copying."""

    float_multiply_adds: float
    int8_multiply_adds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Sum:
    """Layers of a kind together.

    Attributes:
        kind: of the layers, with their precision.
        count: of them.
        milliseconds: that they took.
        bound_ms: that they would need at the machine's speeds, each at most what it took: a layer whose data lie in a
            nearer cache moves them faster than the yardstick does.
        by_bytes: share of `bound_ms` that comes from layers bound by their bytes.
    """

    kind: str
    count: int
    milliseconds: float
    bound_ms: float
    by_bytes: float


def eight_bits(precision: str) -> bool:
    """Whether arithmetic in a precision is in 8 bits."""
    return precision in ("i8", "u8")


def bounds_ms(layer: Layer, speeds: Speeds) -> tuple[float, float]:
    """Milliseconds that a layer's arithmetic and its bytes would need; the larger one is its bound."""
    speed = speeds.int8_multiply_adds if eight_bits(layer.precision) else speeds.float_multiply_adds
    return layer.multiply_adds / speed, layer.bytes / speeds.bytes


def total(layers: Iterable[Layer], speeds: Speeds, kind: str = "all") -> Sum:
    """Add layers up."""
    count, took_ms, bound_ms, by_bytes_ms = 0, 0.0, 0.0, 0.0
    for layer in layers:
        arithmetic_ms, bytes_ms = bounds_ms(layer, speeds)
        bound = min(max(arithmetic_ms, bytes_ms), layer.milliseconds)
        count += 1
        took_ms += layer.milliseconds
        bound_ms += bound
        by_bytes_ms += bound if bytes_ms > arithmetic_ms else 0.0
    return Sum(kind, count, took_ms, bound_ms, by_bytes_ms / bound_ms if bound_ms else 0.0)


def by_kind(layers: Sequence[Layer], speeds: Speeds) -> list[Sum]:
    """Add layers up by kind and precision, what takes longest first."""
    kinds = sorted({(layer.kind, layer.precision) for layer in layers})
    sums = [
        total((x for x in layers if (x.kind, x.precision) == (kind, precision)), speeds, f"{kind} {precision}")
        for kind, precision in kinds
    ]
    return sorted(sums, key=lambda each: -each.milliseconds)
