"""`boir-train benchmark speed`: fair turns, honest verdicts, files that can be read again."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from boir_sdk import bundle as bundles
from boir_sdk import signal_stack
from boir_sdk.errors import ConfigError, DataError
from boir_train import benchmark, peers, plot
from boir_train.benchmark import Accuracy, Point, Timing
from boir_train.cli import benchmark_speed as command
from boir_train.cli import main as cli
from tests.conftest import ROOT

PRECISION = bundles.read("default").manifest.default_precision

GUESSES = """
import numpy as np
MODELS = {"fake": "fake.xml"}
class Peer:
    def __init__(self, name, size, threads):
        if size == 256:
            raise RuntimeError("no such size")
    def __call__(self, image_bgr):
        height, width = image_bgr.shape[:2]
        return np.full((1, 17, 3), [width / 2, height / 2, 0.5], np.float32), np.array([0.5])
"""
COMPILES = """
import numpy as np
import openvino as ov
MODELS = {"fake": "fake.xml"}
class Peer:
    def __init__(self, name, size, threads):
        model = ov.Core().read_model(__file__.replace("run_peer.py", "fake.xml"))
        self.net = ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, **CONFIG})
    def __call__(self, image_bgr):
        return np.zeros((0, 17, 3), np.float32), np.zeros(0)
"""


def point(model: str, size: int, ms: float | None, ap: float, *, own: bool = False) -> Point:
    timing = None if ms is None else Timing(ms, ms, 1.0)
    return Point(model, size, own, "f32", {"val": Accuracy(ap, ap - 0.01, ap + 0.02, "f32")}, timing)


RISING = [(10.0, 0.2), (40.0, 0.5), (20.0, 0.4)]
FALLING = [(10.0, 0.2), (20.0, 0.4), (40.0, 0.3)]


@pytest.mark.parametrize(
    ("line", "ms", "expected"),
    [
        (RISING, 10, 0.2),
        (RISING, 15, 0.3),
        (RISING, 30, 0.45),
        (RISING, 40, 0.5),
        (RISING, 9.9, None),
        (RISING, 40.1, None),
        (FALLING, 15, 0.3),
        (FALLING, 30, 0.4),  # a slower point that is worse takes nothing from the faster one
        (FALLING, 40, 0.4),
        ([(10.0, 0.2)], 10, 0.2),
        ([], 10, None),
    ],
)
def test_a_line_gives_ap_at_a_time(line: list[tuple[float, float]], ms: float, expected: float | None) -> None:
    found = benchmark.ap_at(line, ms)
    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ms", "ap", "rival_ap", "words"),
    [
        (15.0, 0.35, 0.3, "above"),
        (15.0, 0.305, 0.3, "above, theirs inside our interval"),
        (15.0, 0.2, 0.3, "below"),
        (15.0, 0.29, 0.3, "below, theirs inside our interval"),
        (20.0, 0.4, 0.4, "equal, theirs inside our interval"),
        (50.0, 0.9, None, "outside range"),
    ],
)
def test_verdicts_compare_at_equal_time(ms: float, ap: float, rival_ap: float | None, words: str) -> None:
    theirs = [point("rival", size, at, own) for size, (at, own) in enumerate(RISING)]
    ours = [point("a", 320, ms, ap, own=True), point("b", 320, 15.0, 0.1, own=True), point("c", 1, None, 0.1, own=True)]
    first, second = benchmark.verdicts([*ours, *theirs], "val")  # not our own models against each other
    assert (first.model, first.size, first.rival, first.words) == ("a", 320, "rival", words)
    assert first.rival_ap is None if rival_ap is None else first.rival_ap == pytest.approx(rival_ap)
    assert (second.model, second.words) == ("b", "below")


def test_everybody_has_every_turn_equally_often() -> None:
    seen: list[str] = []
    threads = set()

    def detector(name: str) -> benchmark.Detect:
        def detect(picture: np.ndarray) -> list[dict[str, object]]:
            seen.append(name)
            threads.add(cv2.getNumThreads())
            time.sleep(0.001)
            return []

        return detect

    before = cv2.getNumThreads()
    pictures = [np.zeros((4, 6, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)]
    taken = benchmark.measure_times([detector("a"), detector("b")], pictures, 3, 1)
    assert "".join(seen) == "abba" * 4  # once through all before anything is measured
    assert [len(times) for times in taken] == [6, 6]
    assert min(map(min, taken)) >= 1.0
    assert threads == {1}
    assert cv2.getNumThreads() == before


def test_timings_sum_up() -> None:
    first, second = benchmark.timings([[1.0, 2.0, 3.0], [6.0, 4.0, 50.0]])
    assert (first.median_ms, first.ratio) == (2.0, 1.0)
    assert (second.median_ms, second.ratio) == (6.0, 3.0)
    assert second.p90_ms == pytest.approx(41.2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default", ("default", None)),
        ("default:bf16", ("default", "bf16")),
        ("out/nano:int8", ("out/nano", "int8")),
        ("C:\\models\\nano", ("C:\\models\\nano", None)),
        ("out:1/nano", ("out:1/nano", None)),
        (":int8", None),
        ("nano:", None),
    ],
)
def test_a_bundle_and_its_precision(text: str, expected: tuple[str, str | None] | None) -> None:
    if expected is None:
        with pytest.raises(argparse.ArgumentTypeError, match="BUNDLE:PRECISION"):
            command._bundle(text)
    else:
        assert command._bundle(text) == expected


@pytest.fixture
def small_set(tmp_path: Path) -> str:
    """`--set` of two small pictures with somebody in each, all of whose joints are in the middle."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    image_bgr = cv2.resize(cv2.imread(str(ROOT / "demos" / "people.jpg")), (192, 128), interpolation=cv2.INTER_AREA)
    images, people = [], []
    for number in (1, 2):
        cv2.imwrite(str(folder / f"{number}.png"), image_bgr)
        images.append({"id": number, "file_name": f"val2017/{number}.png", "height": 128, "width": 192})
        person = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
        people.append({**person, "keypoints": [96, 64, 2] * 17, "bbox": [40, 10, 100, 100], "area": 9000})
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}))
    return f"tiny={file}={folder}"


@pytest.fixture
def fake_peers(tmp_path: Path) -> Path:
    folder = tmp_path / "peers"
    folder.mkdir()
    (folder / peers.RUNNER).write_text(GUESSES)
    (folder / "fake.xml").write_text("<net/>")
    return folder


def speed(out: Path, *more: str) -> int:
    arguments = ["benchmark", "speed", "--bundle", "default", "--sizes", "192", "--out", str(out)]
    return cli.main([*arguments, "--pictures-for-time", "1", "--repeats", "2", "--threads", "1", *more])


def test_a_run_writes_its_results_and_keeps_what_it_measured(
    tmp_path: Path, small_set: str, fake_peers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    name, file, folder = small_set.split("=")
    sets = ["--annotations", file, "--images", folder, "--set", small_set]
    assert speed(out, *sets, "--peers", str(fake_peers)) == 0
    table = capsys.readouterr().out
    report = json.loads((out / "benchmark.json").read_text())
    ours, fake = report["points"]
    assert (ours["model"], ours["size"], ours["own"]) == (f"default {PRECISION}", 192, True)
    assert ours["precision"].endswith("f32")
    assert (fake["model"], fake["size"], fake["own"], fake["precision"]) == ("fake", 192, False, "unknown")
    assert list(report["sets"]) == ["pictures", name] == list(ours["accuracy"])
    assert fake["accuracy"]["pictures"]["ap"] == pytest.approx(1.0)  # it guesses where the truth is
    assert ours["timing"]["ratio"] == 1.0
    assert ours["timing"]["p90_ms"] >= ours["timing"]["median_ms"] > 0
    assert report["timed"]["pictures"] == 1
    assert report["machine"]["threads"] == 1
    assert "| fake | 192 | unknown | 100.0 (100.0 to 100.0) | 100.0" in table
    assert "outside range" in table
    assert (out / "benchmark.md").read_text() == table
    assert cv2.imread(str(out / "ap_vs_ms.png")) is not None

    # What was measured before is taken from the partial results; a set of the same annotations is the same set.
    known = json.loads((out / "partial.json").read_text())
    assert len(known) == 2
    changed = {key: {**value, "ap": 0.125} if ":fake:" in key else value for key, value in known.items()}
    (out / "partial.json").write_text(json.dumps(changed))
    assert speed(out, *sets, "--peers", str(fake_peers), "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["points"][1]["accuracy"]["pictures"]["ap"] == 0.125
    assert again["points"][0]["accuracy"] == ours["accuracy"]

    # Another model under the old name is measured.
    (fake_peers / "fake.xml").write_text("<net></net>")
    assert speed(out, *sets, "--peers", str(fake_peers), "--json") == 0
    assert json.loads(capsys.readouterr().out)["points"][1]["accuracy"]["pictures"]["ap"] == pytest.approx(1.0)


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path,
    small_set: str,
    fake_peers: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["--set", small_set, "--peers", str(fake_peers), "--pictures-for-time", "0"]
    measured: list[str] = []
    real = benchmark.measure_ap

    def counting(running: benchmark.Running, *rest: object) -> Accuracy:
        if stop_at == len(measured):
            raise KeyboardInterrupt
        accuracy = real(running, *rest)
        measured.append(accuracy.precision)
        return accuracy

    monkeypatch.setattr(benchmark, "measure_ap", counting)
    stop_at = 1
    assert speed(out, *arguments) == 130
    assert "partial.json" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["partial.json"]
    stop_at = -1
    assert speed(out, *arguments) == 0
    assert [precision == "unknown" for precision in measured] == [
        False,
        True,
    ]  # ours in the first run, the peer in the second
    assert "| - | - | - |" in capsys.readouterr().out  # no times were asked for
    assert sorted(path.name for path in out.iterdir()) == ["benchmark.json", "benchmark.md", "partial.json"]


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, ["--sizes", "200"], "no size 200"),
        (None, ["--sizes", "256"], "fake doesn't run at size 256"),
        (None, ["--bundle", f"default:{PRECISION}"], f"would be called 'default {PRECISION}'"),
        (None, ["--bundle", "default:fp9"], "no precision 'fp9'"),
        (None, ["--annotations", "set.json"], "go together"),
        ("pictures/2.png", [], "1 of 2 pictures aren't in"),
        ("peers/fake.xml", [], "lacks fake.xml"),
        ("set.json", [], "can't read the annotations"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_1(
    tmp_path: Path,
    small_set: str,
    fake_peers: Path,
    capsys: pytest.CaptureFixture[str],
    change: str | None,
    more: list[str],
    message: str,
) -> None:
    if change is not None:
        (tmp_path / change).unlink()
    arguments = ["--set", small_set, "--peers", str(fake_peers), "--pictures-for-time", "0"]
    assert speed(tmp_path / "out", *arguments, *more) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("boir-train: error: ")
    assert message in error


def test_sets_are_needed_differ_and_hold_somebody(
    tmp_path: Path, small_set: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file, _ = small_set.split("=")
    assert speed(tmp_path / "out") == 1
    assert "no annotated pictures" in capsys.readouterr().err
    assert speed(tmp_path / "out", "--set", small_set, "--set", small_set) == 1
    assert f"two sets are called {name}" in capsys.readouterr().err
    assert speed(tmp_path / "out", "--set", "val=file") == 2
    assert "NAME=ANNOTATIONS=IMAGES" in capsys.readouterr().err
    empty = {**json.loads(Path(file).read_text()), "annotations": []}
    Path(file).write_text(json.dumps(empty))
    assert speed(tmp_path / "out", "--set", small_set) == 1
    assert "nobody with keypoints" in capsys.readouterr().err


def test_damaged_partial_results_are_told(tmp_path: Path, small_set: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "partial.json").write_text('{"key": {"ap": 1}}')
    assert speed(tmp_path / "out", "--set", small_set, "--pictures-for-time", "0") == 1
    assert "partial.json isn't what this command writes" in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs matplotlib"):
        plot.check()


def test_the_plot_takes_intervals_on_one_side_of_the_ap() -> None:
    pytest.importorskip("matplotlib")
    low = Point("a", 1, True, "f32", {"val": Accuracy(0.5, 0.51, 0.6, "f32")}, Timing(1.0, 1.0, 1.0))
    drawn = cv2.imdecode(np.frombuffer(plot.ap_against_time([low], "val", "t"), np.uint8), cv2.IMREAD_COLOR)
    assert len(np.unique(drawn)) > 2


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        (None, "no run_peer.py"),
        ("MODELS = {}", "has no Peer"),
        ("import no_such_module_at_all", "can't be imported"),
    ],
)
def test_a_folder_without_peers_is_refused(tmp_path: Path, runner: str | None, message: str) -> None:
    if runner is not None:
        (tmp_path / peers.RUNNER).write_text(runner)
    with pytest.raises(DataError, match=message):
        peers.load_runner(tmp_path)


@pytest.fixture
def compiled_peer(tmp_path: Path) -> Path:
    """A folder whose runner compiles a graph of one convolution, and leaves the type to OpenVINO unless changed."""
    picture = ov.opset13.parameter([1, 3, 8, 8], ov.Type.f32)
    weights = ov.opset13.constant(np.ones((4, 3, 3, 3), np.float32))
    ones, zeros = [1, 1], [0, 0]
    graph = ov.Model([ov.opset13.convolution(picture, weights, ones, zeros, zeros, ones)], [picture])
    ov.save_model(graph, tmp_path / "fake.xml")
    (tmp_path / peers.RUNNER).write_text(COMPILES.replace("**CONFIG", ""))
    return tmp_path


def test_a_peer_computes_in_the_type_that_ours_does(compiled_peer: Path) -> None:
    (entrant,) = peers.entrants(compiled_peer, [8], 1, "f32")
    with entrant.start() as running:
        assert running.detect(np.zeros((8, 8, 3), np.uint8)) == []
        assert running.precision() == "f32"
    with signal_stack.preserved():
        capable = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if capable:
        (entrant,) = peers.entrants(compiled_peer, [8], 1, "bf16")
        with entrant.start() as running:
            assert running.precision() == "bf16"


def test_a_peer_is_told_what_to_compute_in(compiled_peer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Core:
        def set_property(self, device: str, properties: dict[str, str]) -> None:
            told.append((device, properties))

        def read_model(self, path: str) -> str:
            return path

        def compile_model(self, *rest: object) -> None:
            return None

    (entrant,) = peers.entrants(compiled_peer, [8], 1, "f32")
    monkeypatch.setattr(peers.ov, "Core", Core)
    with entrant.start() as running:
        assert running.precision() == "unknown"  # nothing was compiled
    assert told == [("CPU", {"INFERENCE_PRECISION_HINT": "f32"})] * 2  # the runner makes two cores


def test_a_peer_that_insists_on_a_type_is_refused(compiled_peer: Path) -> None:
    (compiled_peer / peers.RUNNER).write_text(COMPILES.replace("**CONFIG", '"INFERENCE_PRECISION_HINT": "f32"'))
    (entrant,) = peers.entrants(compiled_peer, [8], 1, "bf16")
    with pytest.raises(ConfigError, match="computes in f32 where bf16 was asked for"), entrant.start():
        pass


def test_the_real_peers_run(shared: Path) -> None:
    folder = shared / "peers"
    if not folder.is_dir():
        pytest.skip(f"needs the peers, not found at {folder}")
    people_bgr = cv2.imread(str(ROOT / "demos" / "people.jpg"))
    for entrant in peers.entrants(folder, [256], 1, "f32"):
        with entrant.start() as running:
            found = running.detect(people_bgr)
            assert len(found) >= 2
            assert all(len(person["keypoints"]) == 51 for person in found)
            assert running.precision() in ("f32", "int8+f32")
