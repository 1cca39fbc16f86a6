"""How closely an array must agree with its fixture: relative to the fixture's largest magnitude (SPEC-training T6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def number(value: Any) -> np.ndarray:
    """A tensor or anything array-like as a float64 array."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    return np.asarray(array, dtype=np.float64)


def assert_close(actual: Any, expected: Any, *, relative: float, absolute: float = 0.0, what: str = "") -> None:
    """Largest difference at most `relative` times the largest expected magnitude plus `absolute`."""
    actual, expected = number(actual), number(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if expected.size == 0:
        return
    assert np.isfinite(actual).all(), f"{what}: not finite"
    worst = np.abs(actual - expected).max()
    limit = relative * np.abs(expected).max() + absolute
    assert worst <= limit, f"{what}: off by {worst:.3g}, at most {limit:.3g} is allowed"
