"""What `boir bench` measures: that people are really fed, that sums are right, and that the plot shows them."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from boir_sdk import PoseEstimator, benchmark, benchmark_plot, feeding, first_result, process_memory
from boir_sdk.errors import BoirError, InferenceError
from boir_sdk.feeding import Setting
from boir_sdk.rival import Rival

SMALL = Setting("default", 192, None, 2, second_look=True)
BLACK = np.zeros((90, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def results():
    told: list[int] = []
    made = benchmark.measure([SMALL], [0, 1, 10], 2, BLACK, starts=False, progress=told.append)
    return made, told


@pytest.mark.parametrize("people", [0, 3, 30])
def test_a_fed_estimator_finds_as_many_as_it_is_told_on_a_black_picture(people):
    with PoseEstimator(size=192) as plain:
        assert len(plain(BLACK)) == 0
    with SMALL.estimator() as estimator:
        source = feeding.feed(estimator)
        source.people = people
        poses = estimator(BLACK)
        assert {found.keypoints.shape for found in source.found} == {(people, 17, 3)}
        assert len(poses) <= people  # suppression may take the like
        assert bool(len(poses)) == bool(people)
        assert source.networks == [(128, 192), (64, 96)]


def test_every_row_has_every_stage_and_they_add_up(results):
    (result,), told = results
    assert [row.people for row in result.rows] == [0, 1, 10]
    assert told == list(range(1, benchmark.calls([SMALL], [0, 1, 10], 2) + 1))
    for row in result.rows:
        assert tuple(row.stages) == benchmark.STAGES
        parts = sum(row.stages[stage].median_ms for stage in benchmark.STAGES[:-1])
        assert 0 < parts < 1.5 * row.stages["total"].p95_ms
        assert all(0 <= stage.median_ms <= stage.p95_ms for stage in row.stages.values())
        assert row.fps > 0
        assert row.fps_pipelined > 0
    assert result.rows[2].stages["person"].median_ms > result.rows[0].stages["person"].median_ms
    assert result.person_ms is not None
    assert result.person_ms > 0
    assert result.ten_to_one is not None
    assert result.rest_share is None  # nobody asked for five people
    assert result.cold is result.cached is None


def test_the_limit_is_the_arithmetic_at_the_measured_speed(results):
    (result,), _ = results
    assert result.limit_ms is not None
    assert result.limit_share is not None
    dense_ms = np.median([row.stages["dense"].median_ms for row in result.rows])
    assert result.limit_share == pytest.approx(result.limit_ms / dense_ms)


def test_an_end_that_is_asked_for_gives_nothing():
    asked = iter([True, True, False])
    assert benchmark.measure([SMALL], [0, 1], 3, BLACK, starts=False, going=lambda: next(asked)) == []


def test_the_plot_has_a_bar_for_each_row_in_proportion(results):
    made, _ = results
    tree = ElementTree.fromstring(benchmark_plot.svg(made))  # noqa: S314 - our own
    text = "".join(tree.itertext())
    assert "10 people" in text
    assert "size 192" in text
    boxes = list(tree.iter("{http://www.w3.org/2000/svg}rect"))[1:]  # the first is the background
    bars = [float(each.attrib["width"]) for each in boxes]
    stages = [row.stages for row in made[0].rows]
    longest = max(each["total"].median_ms for each in stages)
    drawn = [bars[4 + 4 * index + 1] for index in range(3)]  # after the legend, the second of a row's four is `dense`
    expected = [560 * each["dense"].median_ms / longest for each in stages]
    assert drawn == pytest.approx(expected, abs=0.1)


def test_a_name_with_markup_cannot_break_the_plot(results):
    (result,), _ = results
    odd = dataclasses.replace(result, setting=dataclasses.replace(SMALL, model="<b>&"))
    assert "&lt;b&gt;&amp;" in benchmark_plot.svg([odd])


def test_a_new_process_says_how_long_it_took_and_how_much_memory(tmp_path):
    found = first_result.start(SMALL, tmp_path)
    assert found.first_result_s > 0.1
    assert found.peak_mb is None or 50 < found.peak_mb < 1000
    assert list(tmp_path.iterdir())  # the cache was filled


def test_a_process_that_fails_says_why():
    with pytest.raises(InferenceError, match="nowhere"):
        first_result.start(Setting("/nowhere", None, None, None), None)


def test_an_answer_is_json(capsys):
    request = {"started": time.time(), "cache_dir": None, "setting": {"model": "default", "size": 192}}
    request["setting"].update(precision=None, threads=2, device="CPU")
    first_result.report(json.dumps(request))
    assert set(json.loads(capsys.readouterr().out)) == {"first_result_s", "peak_mb"}


def test_memory_is_at_least_what_is_held_now():
    peak = process_memory.peak_mb()
    if peak is None:
        pytest.skip("this system doesn't tell")
    block = np.ones(64 << 20, np.uint8)
    grown = process_memory.peak_mb()
    assert grown is not None
    assert grown > 64
    assert grown >= peak
    del block
    process_memory.give_back()
    after = process_memory.peak_mb()
    assert after is not None
    assert after > grown - 16  # a peak doesn't fall; the system rounds a little


def test_the_machine_is_described():
    facts = benchmark.machine()
    assert facts["cores"] >= 1
    assert re.match(r"\d{4}\.", facts["openvino"])


@pytest.fixture
def scripted_rival(tmp_path, monkeypatch):
    """Makes `python -m boir_convert.rivals` something else."""

    def script(code):
        folder = tmp_path / "boir_convert"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "rivals.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return script


def test_rivals_take_turns_and_are_compared(scripted_rival):
    scripted_rival("import sys\nprint('ready', flush=True)\nfor _ in sys.stdin: print(12.5, flush=True)")
    made = benchmark.measure([SMALL, SMALL], [1], 3, BLACK, starts=False, against=["torch"])
    assert made[0].against == {"torch": benchmark.Spread(12.5, 12.5)}
    assert made[1].against == {}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('too bad')", "too bad"),
        ("import nowhere", "boir-sdk"),
        ("", "said nothing"),
        ("print('ready', flush=True); input(); raise ValueError('later')", "later"),
    ],
)
def test_a_rival_that_fails_says_why(scripted_rival, code, says):
    scripted_rival(code)
    with pytest.raises(InferenceError, match=says), Rival("torch", "nano", "coco17", (192, 128), 2) as started:
        started.turn_ms()


@pytest.mark.parametrize("setting", [Setting("default", 300, None, None), Setting("default", None, "fp64", None)])
def test_impossible_settings(setting):
    with pytest.raises(BoirError):
        benchmark.measure([setting], [0], 1, BLACK, starts=False)
