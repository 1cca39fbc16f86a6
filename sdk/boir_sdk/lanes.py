"""What one picture in flight needs of OpenVINO, and who gets it next when many ask."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from boir_sdk.quiet_openvino import ov

LANES = 2  # pictures in flight a shape: while one is decoded the next is inferred
TIMEOUT_S = 30.0
CENTRE = "center_yx"
ROWS = ("vectors", "regress")  # per person; every other input of the person graph is a map that all people share
_PEOPLE, _KEYPOINTS = "people", "keypoints"


class Lane:
    """The requests that one picture needs, with the shared maps in the same memory for both graphs."""

    def __init__(self, dense: ov.CompiledModel) -> None:
        self._dense = dense.create_infer_request()
        self._requests: dict[int, ov.InferRequest] = {}
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
        self, people: NDArray[np.float32], rows: NDArray[np.intp], graph: Callable[[int], ov.CompiledModel]
    ) -> NDArray[np.float32]:
        """Run the person graph for those of the people just found -> [rows, K, 3].

        `graph` compiles it for a batch. It is given anew each time: a lane that kept it would keep its shape, and
        OpenVINO's memory with it, after the shape was let go and until Python looked for cycles.
        """
        batch = len(rows)
        request = self._requests.get(batch) or self._bind(batch, graph(batch))
        request.get_tensor(CENTRE).data[:] = people[rows, 1:]
        for name in ROWS:
            if name in self._outputs:
                request.get_tensor(name).data[:] = self._outputs[name].data[:, rows]
        request.infer()
        return np.array(request.get_tensor(_KEYPOINTS).data)

    def _bind(self, batch: int, compiled: ov.CompiledModel) -> ov.InferRequest:
        request = compiled.create_infer_request()
        for port in compiled.inputs:
            name = port.get_any_name()
            if name != CENTRE and name not in ROWS:
                request.set_tensor(port, self._outputs[name])
        self._requests[batch] = request
        return request


class Lanes:
    """The lanes of a shape, given out in the order in which callers came: otherwise one of many may wait for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Lane | None] = [None] * LANES  # made when first taken
        self._waiting: deque[queue.SimpleQueue[Lane | None]] = deque()

    def take(self) -> Lane | None:
        """Wait for a lane; None stands for one that isn't made yet.

        Raises:
            queue.Empty: none became free within `TIMEOUT_S`.
        """
        place: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        with self._lock:
            if self._free:
                return self._free.pop()
            self._waiting.append(place)
        try:
            return place.get(timeout=TIMEOUT_S)
        except BaseException:
            with self._lock:
                given = place not in self._waiting
                if not given:
                    self._waiting.remove(place)
            if given:  # in the very last moment
                self.give(place.get())
            raise

    def give(self, lane: Lane | None) -> None:
        """Hand a lane on, to who waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(lane)
            else:
                self._free.append(lane)

    def idle(self) -> bool:
        """Tell whether nobody has a lane."""
        return len(self._free) == LANES
