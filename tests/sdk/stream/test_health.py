"""Waits between attempts and limits."""

from __future__ import annotations

import pytest

from boir_sdk.errors import InputError
from boir_sdk.stream.health import Backoff, Limits


def test_waits_double_up_to_the_cap_with_little_jitter_and_begin_anew() -> None:
    backoff = Backoff(Limits(), seed=1)
    for _ in range(2):
        waits = [backoff.next_wait("refused") for _ in range(8)]
        for wait, middle in zip(waits, [0.5, 1, 2, 4, 8, 10, 10, 10], strict=True):
            assert 0.8 * middle <= wait <= 1.2 * middle
        assert len(set(waits)) == len(waits)
        backoff.reset()


@pytest.mark.parametrize(("code", "low", "high"), [("auth", 24, 36), ("not_found", 24, 36), ("timeout", 0.4, 0.6)])
def test_a_refused_password_or_path_is_tried_again_slowly(code, low, high) -> None:
    assert low <= Backoff(Limits()).next_wait(code) <= high


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(Limits(jitter=0))
    assert [backoff.next_wait("lost") for _ in range(2000)][-1] == 10


@pytest.mark.parametrize("limit", [{"stall_s": 0}, {"retry_s": -1}, {"connect_s": float("nan")}, {"jitter": 1.0}])
def test_impossible_limits(limit) -> None:
    with pytest.raises(InputError, match=next(iter(limit))):
        Limits(**limit)
