"""The paper's t-test: do two methods differ, judged by a few training runs of each?

The tail of Student's t distribution is the regularised incomplete beta function, here by its continued fraction, so
that no statistics library is needed for one number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from boir_sdk.errors import DataError

Kind = Literal["student", "welch", "paired"]

PRECISION = 1e-15  # relative change at which the continued fraction is done
MOST_TERMS = 10_000
TINY = 1e-300  # stands for zero in Lentz's method


@dataclass(frozen=True, slots=True)
class TTest:
    """Result of `t_test`; everything is in the unit of the values.

    Attributes:
        kind: which test.
        means, deviations: of the two groups; deviations with n - 1.
        difference: mean of the second minus mean of the first (paired: mean of the differences).
        interval_95: confidence interval of the difference.
        t, freedom: the statistic and its degrees of freedom.
        p: two-sided probability of a difference at least as large if there were none.
    """

    kind: Kind
    means: tuple[float, float]
    deviations: tuple[float, float]
    difference: float
    interval_95: tuple[float, float]
    t: float
    freedom: float
    p: float


def t_test(first: Sequence[float], second: Sequence[float], kind: Kind = "student") -> TTest:
    """Compare the means of two groups of runs.

    Args:
        first: one figure a run of the one method, for example AP.
        second: of the other.
        kind: "student", independent runs of equal variance; "welch", independent runs of any variance; "paired", run i
            of both with the same seed.

    Raises:
        DataError: a group has fewer than two values, one isn't finite, pairs don't pair, or nothing varies.
    """
    for name, values in (("first", first), ("second", second)):
        if len(values) < 2:
            raise DataError(f"the {name} group has {len(values)} values: a t-test needs at least two runs of each")
        if not all(math.isfinite(value) for value in values):
            raise DataError(f"the {name} group holds a value that isn't a finite number")
    if kind == "paired":
        if len(first) != len(second):
            raise DataError(f"{len(first)} and {len(second)} values don't pair: give the same seeds in the same order")
        change = [b - a for a, b in zip(first, second, strict=True)]
        freedom, error = len(change) - 1.0, math.sqrt(_variance(change) / len(change))
    else:
        freedom, error = _independent(first, second, kind)
    if error == 0:
        raise DataError("the values don't vary at all: the test would divide by zero; give the unrounded figures")
    difference = _mean(second) - _mean(first)
    t = difference / error
    margin = error * _critical(freedom)
    return TTest(
        kind=kind,
        means=(_mean(first), _mean(second)),
        deviations=(math.sqrt(_variance(first)), math.sqrt(_variance(second))),
        difference=difference,
        interval_95=(difference - margin, difference + margin),
        t=t,
        freedom=freedom,
        p=two_sided(t, freedom),
    )


def _independent(first: Sequence[float], second: Sequence[float], kind: Kind) -> tuple[float, float]:
    """Degrees of freedom, and the standard error of the difference of means."""
    a, b = _variance(first) / len(first), _variance(second) / len(second)
    if kind == "welch":
        spread = a**2 / (len(first) - 1) + b**2 / (len(second) - 1)
        return ((a + b) ** 2 / spread if spread else math.inf), math.sqrt(a + b)
    freedom = len(first) + len(second) - 2.0
    pooled = ((len(first) - 1) * _variance(first) + (len(second) - 1) * _variance(second)) / freedom
    return freedom, math.sqrt(pooled * (1 / len(first) + 1 / len(second)))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def two_sided(t: float, freedom: float) -> float:
    """Probability that Student's t with `freedom` (> 0) degrees of freedom is at least `|t|` away from 0."""
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _critical(freedom: float, level: float = 0.95) -> float:
    """The t that `1 - level` of the distribution lies beyond, by bisection (two_sided falls with t)."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > 1 - level else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 and x in 0..1.

    Its continued fraction (Abramowitz and Stegun 26.5.8) converges fast for x < (a + 1) / (a + b + 2); beyond, the
    symmetry I_x(a, b) = 1 - I_{1-x}(b, a) is used.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a * _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """1 / (1 + d1 / (1 + d2 / (1 + ...))) by Lentz's method, evaluated from the front."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for term in range(MOST_TERMS):
        m = term // 2
        if term == 0:
            d = 1.0
        elif term % 2 == 0:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        denominator = 1 / _not_zero(1 + d * denominator)
        numerator = _not_zero(1 + d / numerator)
        value *= numerator * denominator
        if abs(1 - numerator * denominator) < PRECISION:
            break
    return value - 1


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
