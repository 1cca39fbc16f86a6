"""OpenVINO behind one seam: compile a bundle's two graphs for static shapes and run them from any thread.

Every picture shape has its own pair of compiled graphs, kept in a small least-recently-used store: dynamic dimensions
leak memory per new shape and, with INT8, crash some processors (openvino#37577). One inference request may not be used
by two threads, so each caller takes a `Lane`, a dense request and person requests that share their maps in memory.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import arithmetic, dilated, process_memory, processor, signal_stack, static_graph
from boir_sdk.bundle import Bundle
from boir_sdk.errors import InferenceError, InputError
from boir_sdk.lanes import CENTRE, ROWS, Lane, Lanes, PersonGraph, shared_out
from boir_sdk.quiet_openvino import ov
from boir_sdk.skeleton import get_skeleton

COMPILED_SHAPES = 12  # compiled graphs kept, some MB each: two looks at pictures of six shapes
SPREAD_FROM = 5  # calls a picture that are worth a second form of the person graph, 11 MB
CALLS_AT_ONCE = 8  # of the person graph, each with maps of its own: 7 MB at 512

VERSION = str(ov.__version__)
_BFLOAT16 = {"bf16": ("fp16", "fp32"), "int8+bf16": ("int8",)}  # precision asked for -> weights it may take
_META_DEVICES = ("AUTO", "MULTI", "HETERO", "BATCH")


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a bundle.

    Attributes:
        device: OpenVINO's name of it.
        precision: `fp32`, `fp16`, `int8` as far as the bundle has them; `bf16` for its float graph in bfloat16, and
            `int8+bf16` for its 8-bit graph with what is float there in bfloat16.
        threads: for CPU inference, or None for OpenVINO's choice.
        cache_dir: folder for compiled graphs, or None.
        views: 1, or 2 for the flip test.
    """

    device: str
    precision: str
    threads: int | None
    cache_dir: Path | None
    views: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The people of one network picture, the best first.

    Attributes:
        centers_yx: int64 [N, 2], map cells.
        center_scores: float32 [N].
        keypoints: float32 [N, K, 3], network x and y in pixels, and the peak of the keypoint's heatmap.
        dense_s: seconds that the dense graph took, its input copied.
        person_s: seconds that the person graph took for all of them.
    """

    centers_yx: NDArray[np.int64]
    center_scores: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    dense_s: float
    person_s: float


class _Shape:
    """Both graphs compiled for one picture shape, and their lanes."""

    def __init__(self, runtime: Runtime, height: int, width: int) -> None:
        self._runtime = runtime
        dense = runtime._read("dense")
        static_graph.reshape(dense, {"picture": [runtime.options.views, height, width, 3]})
        self.dense = runtime._compile(dense)
        self._calls_at_once = runtime._calls_at_once(self.dense)
        self._persons: dict[tuple[int, int], PersonGraph] = {}  # by people a call, and calls at once
        self._lock = threading.Lock()
        self._lanes = Lanes()

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        lane = self._lanes.take()
        try:
            lane = lane or Lane(self.dense)
            yield lane
        finally:
            self._lanes.give(lane)

    def person(self, batch: int, *, spread: bool) -> PersonGraph:
        """The person graph for some people a call.

        One call has all threads. When there are more (`spread`) each has a thread of its own: moving maps bounds the
        graph, so threads that share one call gain little.
        """
        calls = self._calls_at_once if spread else 1
        with self._lock:
            graph = self._persons.get((batch, calls))
            if graph is None:
                with suppress(RuntimeError):  # compiling needs the memory more; another picture may be using it
                    self.dense.release_memory()
                person = self._runtime._read("person")
                static_graph.reshape(person, dict(self._person_shapes(person, batch)))
                streams = {"NUM_STREAMS": calls} if calls > 1 else {}
                graph = self._persons[batch, calls] = PersonGraph(self._runtime._compile(person, **streams), calls)
            return graph

    def rest(self) -> None:
        """Give back the maps and the memory between layers, if no picture is at work; the next one takes them again."""
        if not self._lanes.forget():
            return
        with self._lock, suppress(RuntimeError):  # OpenVINO's word for a request that began just now
            for graph in (self.dense, *(person.compiled for person in self._persons.values())):
                graph.release_memory()

    def _person_shapes(self, person: ov.Model, batch: int) -> Iterator[tuple[str, list[int]]]:
        for port in person.inputs:
            name = port.get_any_name()
            if name == CENTRE:
                yield name, [batch, 2]
            else:
                views, *rest = self.dense.output(name).shape
                yield name, [views, batch, rest[-1]] if name in ROWS else [views, *rest]


class Runtime:
    """A verified bundle on a device; safe to call from any number of threads of the process that made it."""

    def __init__(self, bundle: Bundle, options: Options) -> None:
        """Choose graphs and settings; the first picture of a shape compiles them.

        Args:
            bundle: from `boir_sdk.bundle.read`.
            options: see there.

        Raises:
            InputError: the bundle doesn't have the precision.
            InferenceError: the device isn't there or can't do the precision, or OpenVINO was used before a fork.
        """
        if _started_in not in (None, os.getpid()):
            raise InferenceError(f"an estimator was made before the process forked, and {_NO_FORK}")
        _remember_start()
        self.bundle, self.options = bundle, options
        self._joints = len(get_skeleton(bundle.manifest.skeleton))
        self._weights, hint = _weights_and_hint(bundle, options)
        with signal_stack.preserved():  # asking for devices loads their plugins
            self._core = ov.Core()
            _check_device(self._core, options)
        self._config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        on_cpu = options.device.startswith("CPU")
        units = {"int8": "amx_int8", "int8+bf16": "amx_int8", "bf16": "amx_bf16"}.get(options.precision)
        self._unfolds = on_cpu and units is not None and units in (processor.flags() or ())
        if options.threads is not None and on_cpu:
            self._config["INFERENCE_NUM_THREADS"] = options.threads
        if options.cache_dir is not None:
            self._config["CACHE_DIR"] = str(options.cache_dir)
        self._shapes: OrderedDict[tuple[int, int], _Shape] = OrderedDict()
        self._turns: Lanes | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self._effective: str | None = None
        _living.add(self)

    def infer(self, picture: NDArray[np.uint8], *, max_people: int, threshold: float) -> Found:
        """Run both graphs on one picture.

        Args:
            picture: uint8 BGR [V, H, W, 3], sides as the bundle wants them; view 1 is view 0 mirrored.
            max_people: at most so many, the best first.
            threshold: a centre's score must be greater, compared in float32.

        Raises:
            InferenceError: closed, called after a fork, no request became free, or OpenVINO failed.
        """
        shape = self._shape(picture.shape[1], picture.shape[2])
        with shape.lane() as lane, self._turns.one() if self._turns else nullcontext():
            try:
                start_s = time.perf_counter()
                people = lane.people(picture)
                found_s = time.perf_counter()
                people = people[people[:, 0] > np.float32(threshold)][:max_people]
                keypoints = np.empty((0, self._joints, 3), dtype=np.float32)
                if batches := shared_out(len(people), self.bundle.manifest.person_batches):
                    spread = len(batches) >= SPREAD_FROM
                    keypoints = lane.keypoints(people, batches, lambda batch: shape.person(batch, spread=spread))
                end_s = time.perf_counter()
            except RuntimeError as error:
                raise InferenceError(f"OpenVINO failed on {self.options.device}: {error}") from error
        cells, scores = people[:, 1:].astype(np.int64), people[:, 0].copy()
        return Found(cells, scores, keypoints, found_s - start_s, end_s - found_s)

    def describe(self) -> dict[str, Any]:
        """Return device, versions and the precision asked, read and really used, as OpenVINO reports it."""
        device = self.options.device
        with self._lock:
            shapes = [list(shape) for shape in self._shapes]
        full = device if device.startswith(_META_DEVICES) else str(self._core.get_property(device, "FULL_DEVICE_NAME"))
        return {
            "device": device,
            "device_name": full,
            "openvino": ov.__version__,
            "precision": {
                "asked": self.options.precision,
                "weights": self._weights,
                "hint": self._config["INFERENCE_PRECISION_HINT"],
                "effective": self._effective,
            },
            "threads": self.options.threads,
            "compiled_shapes": shapes,
        }

    def work(self, height: int, width: int) -> dict[str, dict[str, int]]:
        """Count the multiply-adds of both graphs (the person graph's for one person) for a network picture.

        Returns:
            `dense` and `person`, each with `float` and, for what really runs in eight bits, `int8`.

        Raises:
            InferenceError: as for `infer`.
        """
        shape = self._shape(height, width)
        models = self._static(shape, height, width)
        compiled = {"dense": shape.dense, "person": shape.person(1, spread=False).compiled}
        return {part: arithmetic.multiply_adds(models[part], compiled[part]) for part in models}

    def watched(self, height: int, width: int) -> dict[str, ov.CompiledModel]:
        """Compile both graphs once more for a network picture (the person graph for one person), with layer times on.

        Raises:
            InferenceError: as for `infer`.
        """
        models = self._static(self._shape(height, width), height, width)
        return {part: self._compile(model, PERF_COUNT=True) for part, model in models.items()}

    def _static(self, shape: _Shape, height: int, width: int) -> dict[str, ov.Model]:
        """Both graphs, not compiled, for a network picture and one person."""
        models = {part: self._read(part) for part in ("dense", "person")}
        static_graph.reshape(models["dense"], {"picture": [self.options.views, height, width, 3]})
        static_graph.reshape(models["person"], dict(shape._person_shapes(models["person"], 1)))
        return models

    def close(self) -> None:
        """Let go of every compiled graph; calls in flight finish, later ones fail. After a fork nothing is let go."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            self._shapes.clear()

    def _check_alive(self) -> None:
        if self._closed:
            raise InferenceError("this estimator was closed: make a new one")
        if os.getpid() != self._pid:
            raise InferenceError(f"this estimator was made before the process forked, and {_NO_FORK}")

    def _shape(self, height: int, width: int) -> _Shape:
        self._check_alive()  # before the lock: after a fork it may be held by a thread that isn't there
        with self._lock:
            self._check_alive()
            key = (height, width)
            shape = self._shapes.get(key)
            if shape is None:
                # Compiling takes the most memory of all, so what is only kept for later gives back what it can.
                for idle in self._shapes.values():
                    idle.rest()
                shape = self._shapes[key] = _Shape(self, height, width)
                if self._turns is None and self.options.device.startswith("CPU"):
                    # As many pictures at once as there are processors for: one more would only take threads away from
                    # the others, and all would be done a tenth later.
                    self._turns = Lanes(max(1, processor.count() // _threads(shape.dense)))
                self._effective = effective_precision(shape.dense)
            self._shapes.move_to_end(key)
            while len(self._shapes) > COMPILED_SHAPES:
                self._shapes.popitem(last=False)
            return shape

    def _read(self, part: str) -> ov.Model:
        return static_graph.read(self._core, self.bundle.graph(self._weights, part))

    def _calls_at_once(self, compiled: ov.CompiledModel) -> int:
        """How many calls of a small graph this device computes best at once: on a CPU as many as it uses threads."""
        if not self.options.device.startswith("CPU"):
            return 1
        return min(_threads(compiled), CALLS_AT_ONCE)

    def _compile(self, model: ov.Model, **more: Any) -> ov.CompiledModel:
        static_graph.drop_idle_means(model)
        if self._unfolds:
            dilated.unfold(model)
        process_memory.give_back()
        try:
            with signal_stack.preserved():
                compiled = self._core.compile_model(model, self.options.device, {**self._config, **more})
        except RuntimeError as error:
            what = f"{self.bundle.manifest.name} for {self.options.device}"
            raise InferenceError(f"OpenVINO {ov.__version__} can't compile {what}: {error}") from error
        process_memory.give_back()  # some MB a graph
        return compiled


def _threads(compiled: ov.CompiledModel) -> int:
    """How many threads a graph compiled for the CPU uses."""
    return max(1, int(compiled.get_property("INFERENCE_NUM_THREADS")))


_NO_FORK = (
    "OpenVINO doesn't survive a fork: start processes with the 'spawn' method, or make no estimator before the fork"
)
_started_in: int | None = None  # the process whose threads OpenVINO has; in a forked child it would wait for them


def _remember_start() -> None:
    global _started_in
    _started_in = os.getpid()


_living: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _never_take_apart() -> None:
    """In a forked child: OpenVINO's threads aren't there, so an end of its objects would wait for them for ever."""
    for inherited in list(_living):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_take_apart)


def _weights_and_hint(bundle: Bundle, options: Options) -> tuple[str, str]:
    """The bundle's precision to read, and what OpenVINO is told to compute floats in: never left to its guess."""
    manifest = bundle.manifest
    if options.precision in _BFLOAT16:
        weights = [precision for precision in _BFLOAT16[options.precision] if precision in manifest.precisions]
        if weights:
            return weights[0], "bf16"
    elif options.precision in manifest.precisions:
        half = options.precision == "fp16" and not options.device.startswith("CPU")
        return options.precision, "f16" if half else "f32"
    raise InputError(
        f"bundle {manifest.name} has no precision {options.precision!r}: it has {', '.join(manifest.precisions)}"
    )


def _check_device(core: ov.Core, options: Options) -> None:
    """Only the device asked for is looked at: the list of all loads every plugin, 27 MB and a tenth of a second."""
    first = options.device.split(":")[0]
    if first not in _META_DEVICES:
        try:
            capabilities = core.get_property(options.device, "OPTIMIZATION_CAPABILITIES")
        except RuntimeError:
            found = ", ".join(core.available_devices) or "none"
            raise InferenceError(f"OpenVINO finds no device {options.device!r} here: it finds {found}") from None
        if options.precision in _BFLOAT16 and first == "CPU" and "BF16" not in capabilities:
            raise InferenceError("this processor has no bfloat16: use a precision without bf16")


def effective_precision(compiled: ov.CompiledModel) -> str:
    """The type that floats are computed in, after `int8+` when convolutions really run in eight bits.

    A quantised graph doesn't have to: a device without 8-bit kernels computes it in float, and only the graph as
    compiled tells. The input's own uint8 says nothing, so convolutions are what counts.
    """
    layers = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    kinds = {layer["runtimePrecision"].astype(str) for layer in layers if "Conv" in layer["layerType"].astype(str)}
    try:
        floats = _type_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    except RuntimeError:  # AUTO and its like don't say what the device they chose was told
        floats = "+".join(sorted(kind for kind in kinds if kind.startswith(("f", "bf"))))
    return f"int8+{floats}" if kinds & {"i8", "u8"} else floats


def _type_name(value: object) -> str:
    """OpenVINO answers with a type object here and a string there."""
    return value.get_type_name() if isinstance(value, ov.Type) else str(value)
