"""Learning rate: the two special places, and beyond the end."""

from __future__ import annotations

import pytest

from boir_train.schedule import learning_rate

COMMON = {"base": 1e-3, "final": 1e-6, "epochs": 10, "iterations_per_epoch": 5, "warmup_start": 1e-12}


@pytest.mark.parametrize(
    ("iteration", "warmup_epochs", "rate"),
    [(0, 2, 1e-12), (9, 2, 1e-3), (10, 2, 1e-3), (30, 2, 1e-6 + (1e-3 - 1e-6) / 2), (0, 0, 1e-3), (50, 2, 1e-6)],
)
def test_known_rates(iteration: int, warmup_epochs: int, rate: float) -> None:
    assert learning_rate(iteration, warmup_epochs=warmup_epochs, **COMMON) == pytest.approx(rate, rel=1e-12)


def test_warm_up_of_one_iteration_uses_its_start() -> None:
    settings = {**COMMON, "iterations_per_epoch": 1}
    assert learning_rate(0, warmup_epochs=1, **settings) == 1e-12
    assert learning_rate(1, warmup_epochs=1, **settings) == 1e-3


def test_rises_then_falls() -> None:
    rates = [learning_rate(i, warmup_epochs=2, **COMMON) for i in range(50)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert min(rates[10:]) > 1e-6


def test_training_that_is_all_warm_up() -> None:
    assert learning_rate(50, warmup_epochs=10, **COMMON) == 1e-6
