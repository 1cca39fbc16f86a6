"""`Runtime`: what it drops from graphs, what it counts, and answers about devices that aren't there."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import weakref

import numpy as np
import openvino as ov
import pytest

from boir_sdk import bundle, lanes, static_graph, yardstick
from boir_sdk.errors import InferenceError
from boir_sdk.runtime import Options, Runtime

OPTIONS = Options("CPU", "int8", 2, None, 1)
ops = ov.opset1


@pytest.fixture(scope="module")
def small():
    """The embedded bundle and one picture of its smallest size."""
    made = Runtime(bundle.read("default"), OPTIONS)
    picture = np.random.default_rng(0).integers(0, 256, (1, 192, 128, 3), dtype=np.uint8)
    return made, picture


@pytest.mark.parametrize("people", [0, 1, 7, 30])
def test_as_many_people_as_asked_for(small, people):
    made, picture = small
    found = made.infer(picture, max_people=people, threshold=-1.0)
    assert found.keypoints.shape == (people, 17, 3)
    assert len(found.center_scores) == len(found.centers_yx) == people
    assert found.dense_s > 0
    assert found.person_s > 0 if people else found.person_s >= 0


def test_a_person_alone_is_the_same_among_others(small):
    made, picture = small
    alone = made.infer(picture, max_people=1, threshold=-1.0)
    among = made.infer(picture, max_people=9, threshold=-1.0)
    np.testing.assert_array_equal(alone.keypoints[0], among.keypoints[0])


@pytest.fixture(scope="module")
def large():
    """The embedded bundle and a picture whose people get threads of their own."""
    made = Runtime(bundle.read("default"), OPTIONS)
    picture = np.random.default_rng(1).integers(0, 256, (1, 320, 320, 3), dtype=np.uint8)
    return made, picture


@pytest.mark.parametrize("people", [5, 6, 7])
def test_people_at_work_at_once_keep_their_order(large, people):
    made, picture = large
    alone = made.infer(picture, max_people=1, threshold=-1.0)
    among = made.infer(picture, max_people=people, threshold=-1.0)
    many = made.infer(picture, max_people=30, threshold=-1.0)
    np.testing.assert_array_equal(among.keypoints, many.keypoints[:people])
    np.testing.assert_allclose(alone.keypoints[0], among.keypoints[0], atol=1e-4)
    assert len(np.unique(many.keypoints[:, :, 2].mean(axis=1))) == 30  # so a wrong order would show


@pytest.mark.parametrize(("threads", "at_once"), [(2, 2), (1, 1)])
def test_many_people_get_a_thread_each(threads, at_once):
    made = Runtime(bundle.read("default"), dataclasses.replace(OPTIONS, threads=threads))
    shape = made._shape(192, 192)
    assert shape.person(1, spread=True).at_once == at_once
    assert shape.person(1, spread=False).at_once == 1


def test_ctrl_c_between_people_leaves_the_lane_usable(large, monkeypatch):
    made, picture = large
    before = made.infer(picture, max_people=5, threshold=-1.0)

    def interrupt(running):
        assert running
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lanes, "_answer", interrupt)
        for _ in range(lanes.LANES + 1):
            with pytest.raises(KeyboardInterrupt):
                made.infer(picture, max_people=5, threshold=-1.0)
    after = made.infer(picture, max_people=5, threshold=-1.0)
    np.testing.assert_array_equal(after.keypoints, before.keypoints)


@pytest.mark.parametrize(
    ("people", "sizes", "expected"), [(0, (1, 4), []), (3, (1,), [1, 1, 1]), (7, (1, 4), [4, 1, 1, 1])]
)
def test_people_are_shared_out_to_calls(people, sizes, expected):
    batches = lanes.shared_out(people, sizes)
    assert [rows.stop - rows.start for rows in batches] == expected
    assert [place for rows in batches for place in range(rows.start, rows.stop)] == list(range(people))


@pytest.mark.parametrize(
    ("shape", "axes", "left"), [([1, 4, 6], [0], 0), ([2, 4, 6], [0], 1), ([4, 1, 6], [1], 0), ([1, 4, 6], [0, 2], 1)]
)
@pytest.mark.parametrize("keep", [False, True])
def test_only_means_over_one_thing_are_dropped(shape, axes, left, keep):
    given = ops.parameter(shape, np.float32)
    model = ov.Model([ops.reduce_mean(ops.relu(given), np.array(axes), keep)], [given])
    numbers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = run(model, numbers)
    static_graph.drop_idle_means(model)
    assert [operation.get_type_name() for operation in model.get_ops()].count("ReduceMean") == left
    after = run(model, numbers)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_mean_over_views_that_are_still_free_stays():
    given = ops.parameter(ov.PartialShape([-1, 4]), np.float32)
    model = ov.Model([ops.reduce_mean(given, np.array([0]), False)], [given])
    static_graph.drop_idle_means(model)
    assert "ReduceMean" in [operation.get_type_name() for operation in model.get_ops()]


def test_a_shape_that_does_not_fit_a_graph_is_an_error_of_ours():
    """Two of 1,000 mutated graphs let OpenVINO's own error out here (`python -m fuzz --only graphs`)."""
    given = ops.parameter(ov.PartialShape([-1, 4]), np.float32, name="picture")
    given.output(0).set_names({"picture"})
    model = ov.Model([ops.add(given, ops.constant(np.zeros((3, 4), np.float32)))], [given])
    with pytest.raises(InferenceError, match=r"can't take picture \[2, 4\]: "):
        static_graph.reshape(model, {"picture": [2, 4]})


def run(model, numbers):
    return np.array(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([numbers])[0])


@pytest.mark.parametrize("device", ["TPU", "GPU.7", "cpu0"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(device):
    with pytest.raises(InferenceError, match=rf"{device}.*it finds .*CPU"):
        Runtime(bundle.read("default"), dataclasses.replace(OPTIONS, device=device))


def test_a_device_chosen_by_openvino_runs_and_says_its_precision(small):
    made = Runtime(bundle.read("default"), dataclasses.replace(OPTIONS, device="AUTO:CPU", threads=None))
    found = made.infer(small[1], max_people=1, threshold=-1.0)
    assert len(found.center_scores) == 1
    assert "f32" in made.describe()["precision"]["effective"]


def test_other_devices_plugins_are_not_loaded_for_the_cpu():
    """They cost 27 MB and a tenth of a second of every start."""
    code = (
        "from boir_sdk import PoseEstimator; PoseEstimator(size=192)\n"
        "print([line for line in open('/proc/self/maps') if 'gpu_plugin' in line or 'npu_plugin' in line])"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/self/maps")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_work_counts_what_runs_in_eight_bits(small):
    made, _ = small
    work = made.work(192, 128)
    assert work["dense"]["int8"] > work["dense"]["float"] > 0
    assert work["person"]["int8"] == 0
    double = made.work(192, 256)
    assert double["dense"]["int8"] == 2 * work["dense"]["int8"]
    cells = 192 * 128 // 64  # of the person head
    assert 48 * 48 * cells < work["person"]["float"] < 3 * 48 * 48 * cells


@pytest.mark.parametrize("eight_bits", [False, True])
def test_the_convolution_to_measure_by(eight_bits):
    run_it, work = yardstick.convolution(1, eight_bits=eight_bits)
    run_it()
    assert work == yardstick.CHAIN * 48 * 48 * 256 * 256 * 9


def test_a_shape_let_go_is_gone_without_the_garbage_collector():
    """A lane that knew its shape kept both alive: memory grew with every new picture shape."""
    made = Runtime(bundle.read("default"), OPTIONS)
    made.infer(np.zeros((1, 64, 64, 3), np.uint8), max_people=1, threshold=-1.0)
    (gone,) = map(weakref.ref, made._shapes.values())
    gc.disable()
    try:
        made.close()
        assert gone() is None
    finally:
        gc.enable()


def test_a_shape_that_rested_gives_the_same_bits(small):
    made, picture = small
    before = made.infer(picture, max_people=3, threshold=-1.0)
    for shape in made._shapes.values():
        shape.rest()
    after = made.infer(picture, max_people=3, threshold=-1.0)
    np.testing.assert_array_equal(before.keypoints, after.keypoints)
    np.testing.assert_array_equal(before.center_scores, after.center_scores)


def test_a_shape_that_rested_keeps_no_maps(small):
    """6 MB of them at 512, held while the second look's graphs were compiled, which takes the most memory of all."""
    made, picture = small
    made.infer(picture, max_people=1, threshold=-1.0)
    shape = made._shapes[picture.shape[1], picture.shape[2]]
    with shape.lane() as lane:
        maps = weakref.ref(lane)
    del lane
    shape.rest()
    assert maps() is None


def test_a_shape_at_work_does_not_rest(small, monkeypatch):
    made, picture = small
    made.infer(picture, max_people=1, threshold=-1.0)
    shape = made._shapes[picture.shape[1], picture.shape[2]]
    with shape.lane():
        monkeypatch.setattr(shape, "dense", None)  # resting would ask it to release its memory
        shape.rest()
