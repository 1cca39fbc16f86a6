"""The t-test: its distribution against closed forms and a statistics library, its three kinds, its refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from boir_sdk.errors import DataError
from boir_train.cli.main import main
from boir_train.significance import Kind, incomplete_beta, t_test, two_sided

A = [69.8, 69.7, 69.9, 69.6, 69.85]
B = [70.6, 70.5, 70.7, 70.65, 70.4]


@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 2.7, 12.0, -12.0, 400.0])
@pytest.mark.parametrize(
    ("freedom", "tail"),
    [
        (1, lambda t: 1 - 2 / math.pi * math.atan(t)),  # Cauchy
        (2, lambda t: 2 / (2 + t * t + t * math.sqrt(2 + t * t))),  # 1 - t / sqrt(2 + t t), without cancellation
    ],
)
def test_closed_forms(freedom: float, tail, t: float) -> None:
    assert two_sided(t, freedom) == pytest.approx(tail(abs(t)), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("freedom", [1.5, 3, 4, 7.3, 8, 30, 1000])
@pytest.mark.parametrize("t", [1e-3, 0.5, 1.0, 2.5, 8.0, 60.0])
def test_the_distribution_against_a_library(freedom: float, t: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-7)


@pytest.mark.parametrize(("a", "b", "x"), [(2, 3, 0.0), (2, 3, 1.0), (0.5, 0.5, 0.3), (5, 1, 0.9), (1, 5, 0.9)])
def test_the_beta_function_is_symmetric_and_ends_at_0_and_1(a: float, b: float, x: float) -> None:
    assert incomplete_beta(a, b, x) + incomplete_beta(b, a, 1 - x) == pytest.approx(1)
    if b == 1:
        assert incomplete_beta(a, b, x) == pytest.approx(x**a)


@pytest.mark.parametrize(
    ("kind", "t", "freedom", "p"),
    [  # computed once with a statistics library
        ("student", 10.504514628777708, 8, 5.871045998242571e-06),
        ("welch", 10.504514628777708, 8, 5.8710459982425635e-06),
        ("paired", 10.11928851253885, 4, 0.0005367759372888117),
    ],
)
def test_kinds(kind: Kind, t: float, freedom: float, p: float) -> None:
    found = t_test(A, B, kind)
    assert (found.t, found.freedom, found.p) == pytest.approx((t, freedom, p), rel=1e-9)
    assert found.difference == pytest.approx(0.8)
    low, high = found.interval_95
    assert low < found.difference < high
    assert (low + high) / 2 == pytest.approx(found.difference)
    swapped = t_test(B, A, kind)
    assert (swapped.t, swapped.p) == pytest.approx((-found.t, found.p))


def test_the_interval_holds_what_the_distribution_says() -> None:
    found = t_test(A, B)
    assert found.interval_95 == pytest.approx((0.6243799572510086, 0.9756200427489985))  # from the same library
    # A difference at the edge of the interval is one of p = 0.05.
    edge = [value - found.interval_95[0] for value in B]
    assert t_test(A, edge).p == pytest.approx(0.05, abs=1e-6)


def test_unequal_variances_cost_degrees_of_freedom() -> None:
    wide = [60.0, 80.0, 70.0]
    student, welch = t_test(A, wide), t_test(A, wide, "welch")
    assert student.freedom == 6
    assert 2 <= welch.freedom < 2.1  # nearly those of the wide group alone


@pytest.mark.parametrize(
    ("first", "second", "kind", "message"),
    [
        ([1.0], [1.0, 2.0], "student", "first group has 1"),
        ([1.0, 2.0], [], "welch", "second group has 0"),
        ([1.0, math.nan], [1.0, 2.0], "student", "finite"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "paired", "3 and 2 values don't pair"),
        ([1.0, 1.0], [2.0, 2.0], "student", "don't vary"),
        ([1.0, 1.0], [2.0, 2.0], "welch", "don't vary"),
        ([1.0, 2.0], [2.0, 3.0], "paired", "don't vary"),
    ],
)
def test_refusals(first: list[float], second: list[float], kind: Kind, message: str) -> None:
    with pytest.raises(DataError, match=message):
        t_test(first, second, kind)


def _result(path: Path, ap: float) -> str:
    content = {"unit": "fraction", "AP": ap, "AP_M": -1, "images": 5, "protocol": {}, "model": {}}
    path.write_text(json.dumps(content))
    return str(path)


def test_the_command_takes_numbers_and_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [_result(tmp_path / f"{number}.json", value / 100) for number, value in enumerate(A)]
    assert main(["benchmark", "ttest", "--a", *files, "--b", *map(str, B), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["a"] == pytest.approx(A)
    assert report["p"] == pytest.approx(t_test(A, B).p)
    assert main(["benchmark", "ttest", "--a", *map(str, A), "--b", *map(str, B), "--test", "paired"]) == 0
    shown = capsys.readouterr().out
    assert "b - a: +0.800" in shown
    assert "paired t-test: t = 10.119, 4 degrees of freedom, p = 0.00054" in shown


@pytest.mark.parametrize(
    ("value", "more", "code", "message"),
    [
        ("nothing-here.json", [], 1, "neither a number nor a file"),
        ("inf", [], 1, "finite"),
        ("result", ["--figure", "AP_hard"], 1, "no figure 'AP_hard'"),
        ("result", ["--figure", "AP_M"], 1, "no figure 'AP_M'"),  # -1: nobody of that kind
        ("other", [], 1, "isn't a result of boir-eval"),
        ("1", ["--test", "sign"], 2, "invalid choice"),
    ],
)
def test_what_the_user_can_mend(
    value: str, more: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _result(tmp_path / "1.json", 0.5)
    other = tmp_path / "other.json"
    other.write_text("[1, 2]")
    value = {"result": result, "other": str(other)}.get(value, value)
    assert main(["benchmark", "ttest", "--a", value, "70", "--b", "71", "72", *more]) == code
    assert message in capsys.readouterr().err
