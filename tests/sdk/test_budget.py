"""What `budget_ms` chooses, on a clock of our own; tests/sdk/test_estimator.py asks a real network."""

from __future__ import annotations

import pytest

from boir_sdk.budget import search

SIZES = (192, 256, 384, 512)


def clock(**per_pixel):
    """Times that grow with the size; asking again about a precision that was too slow is a mistake."""
    asked: list[tuple[str, int]] = []

    def timed(precision: str, size: int) -> float:
        asked.append((precision, size))
        return per_pixel[precision] * size

    return timed, asked


@pytest.mark.parametrize(
    ("budget_ms", "size", "precision"),
    [
        (1024, 512, "fp32"),  # everything fits: the most exact
        (1023, 512, "int8"),  # only the fastest manages the largest size
        (511, 384, "int8"),
        (384, 384, "int8"),
        (383, 256, "int8"),
    ],
)
def test_the_largest_size_counts_before_the_precision(budget_ms, size, precision):
    timed, asked = clock(fp32=2.0, int8=1.0)
    choice = search(SIZES, ["fp32", "int8"], budget_ms, timed, 3)
    assert (choice.size, choice.precision) == (size, precision)
    assert choice.took_ms <= budget_ms
    assert f"in {precision}" in choice.why
    assert "3 people" in choice.why
    too_slow = [size for name, size in asked if name == "fp32" and 2.0 * size > budget_ms]
    assert len(too_slow) <= 1  # a precision that was over is not asked about larger sizes


def test_even_the_smallest_size_may_be_too_slow_and_the_fastest_is_taken():
    timed, asked = clock(fp32=2.0, int8=1.0)
    choice = search(SIZES, ["fp32", "int8"], 10, timed, 1)
    assert (choice.size, choice.precision, choice.took_ms) == (192, "int8", 192.0)
    assert choice.why == ("even the smallest is over the budget of 10 ms in int8, the fastest: 192.0 ms with 1 person")
    assert {size for _, size in asked} == {192}


def test_one_precision_is_no_choice_to_speak_of():
    timed, _ = clock(int8=0.1)
    assert search(SIZES, ["int8"], 30, timed, 3).why == "the largest within the budget of 30 ms: 25.6 ms with 3 people"
