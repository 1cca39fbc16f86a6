"""What one picture in flight needs of OpenVINO, and who gets it next when many ask."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boir_sdk.errors import InferenceError
from boir_sdk.quiet_openvino import ov

LANES = 2  # pictures in flight a shape: while one is decoded the next is inferred
TIMEOUT_S = 30.0
CENTRE = "center_yx"
ROWS = ("vectors", "regress")  # per person; every other input of the person graph is a map that all people share
_PEOPLE, _KEYPOINTS = "people", "keypoints"


class PersonGraph(NamedTuple):
    """The person graph compiled for some people a call, and how many calls it computes at once."""

    compiled: ov.CompiledModel
    at_once: int


class Lane:
    """The requests that one picture needs, with the shared maps in the same memory for both graphs."""

    def __init__(self, dense: ov.CompiledModel) -> None:
        self._dense = dense.create_infer_request()
        self._requests: dict[tuple[int, int], list[ov.InferRequest]] = {}  # by people a call, and calls at once
        self._picture = ov.Tensor(dense.inputs[0].element_type, dense.inputs[0].shape)
        self._dense.set_input_tensor(self._picture)
        self._outputs: dict[str, ov.Tensor] = {}
        for port in dense.outputs:
            tensor = ov.Tensor(port.element_type, port.shape)
            self._dense.set_tensor(port, tensor)
            for name in port.get_names():
                self._outputs[name] = tensor

    def people(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the dense graph: uint8 BGR [V, H, W, 3] -> [M, 3] score, y, x."""
        self._picture.data[:] = picture
        self._dense.infer()
        return np.array(self._outputs[_PEOPLE].data)

    def keypoints(
        self, people: NDArray[np.float32], batches: Sequence[slice], graph: Callable[[int], PersonGraph]
    ) -> NDArray[np.float32]:
        """Run the person graph for the people just found -> [N, K, 3].

        Args:
            people: [N, 3] score, y, x.
            batches: which of them go in one call; together all of them, in their order.
            graph: compiles it for a batch. It is given anew each time: a lane that kept it would keep its shape, and
                OpenVINO's memory with it, after the shape was let go and until Python looked for cycles.
        """
        found: list[NDArray[np.float32]] = []
        running: deque[ov.InferRequest] = deque()
        try:
            calls: Counter[int] = Counter()
            for rows in batches:
                batch = rows.stop - rows.start
                compiled, at_once = graph(batch)
                if len(running) == at_once:  # its turn is the request's that was started first
                    found.append(_answer(running))
                request = self._request(compiled, batch, at_once, calls[batch] % at_once)
                calls[batch] += 1
                request.get_tensor(CENTRE).data[:] = people[rows, 1:]
                for name in ROWS:
                    if name in self._outputs:
                        request.get_tensor(name).data[:] = self._outputs[name].data[:, rows]
                request.start_async()
                running.append(request)
            found.extend(_answer(running) for _ in range(len(running)))
        finally:
            for request in running:  # a request that still runs would refuse the lane's next picture
                with suppress(RuntimeError):
                    request.wait()
        return np.concatenate(found)

    def _request(self, compiled: ov.CompiledModel, batch: int, at_once: int, number: int) -> ov.InferRequest:
        requests = self._requests.setdefault((batch, at_once), [])
        if number == len(requests):
            request = compiled.create_infer_request()
            for port in compiled.inputs:
                name = port.get_any_name()
                if name != CENTRE and name not in ROWS:
                    request.set_tensor(port, self._outputs[name])
            requests.append(request)
        return requests[number]


def shared_out(people: int, sizes: tuple[int, ...]) -> list[slice]:
    """Share people out to calls of these sizes (ascending, the first is 1), the largest first."""
    batches: list[slice] = []
    done = 0
    while done < people:
        size = max(size for size in sizes if size <= people - done)
        batches.append(slice(done, done + size))
        done += size
    return batches


def _answer(running: deque[ov.InferRequest]) -> NDArray[np.float32]:
    """Wait for the first of them, which stays until it is done: Ctrl-C may come in between."""
    running[0].wait()
    return np.array(running.popleft().get_tensor(_KEYPOINTS).data)


class Lanes:
    """Lanes, or only turns, given out in the order in which callers came: otherwise one of many may wait for ever."""

    def __init__(self, count: int = LANES) -> None:
        self._lock = threading.Lock()
        self._count = count
        self._free: list[Lane | None] = [None] * count  # made when first taken
        self._waiting: deque[queue.SimpleQueue[Lane | None]] = deque()

    def take(self) -> Lane | None:
        """Wait for a lane; None stands for one that isn't made yet.

        Raises:
            InferenceError: none became free within `TIMEOUT_S`.
        """
        place: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        with self._lock:
            if self._free:
                return self._free.pop()
            self._waiting.append(place)
        try:
            return place.get(timeout=TIMEOUT_S)
        except BaseException as error:
            with self._lock:
                given = place not in self._waiting
                if not given:
                    self._waiting.remove(place)
            if given:  # in the very last moment
                self.give(place.get())
            if isinstance(error, queue.Empty):
                raise InferenceError(
                    f"no inference request became free within {TIMEOUT_S:g} s: fewer threads should call this estimator"
                ) from None
            raise

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a place, and have it for the length of a `with` block.

        Raises:
            InferenceError: as for `take`.
        """
        taken = self.take()
        try:
            yield
        finally:
            self.give(taken)

    def give(self, lane: Lane | None) -> None:
        """Hand a lane on, to who waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(lane)
            else:
                self._free.append(lane)

    def forget(self) -> bool:
        """Let go of all lanes, unless somebody has one; tell whether that was done."""
        with self._lock:
            idle = len(self._free) == self._count
            if idle:
                self._free = [None] * self._count
            return idle
