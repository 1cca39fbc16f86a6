"""BoIR for OpenVINO Model API: importing this module makes its wrapper known to `Model.create_model`.

```python
import boir_sdk.model_api
from model_api.models import Model

model = Model.create_model("my-bundle/int8/dense.xml", device="CPU")
people = model(image_bgr)  # a DetectedKeypoints a person, the best first
```

The graph names its wrapper in `rt_info`; the bundle round it gives the rest and is verified. Model API's adapter runs
the dense graph, a second one the person graph beside it. One look at a picture, as `PoseEstimator(second_look=False)`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boir_sdk import bundle, oks, telemetry, warp
from boir_sdk.errors import BoirError, InstallError
from boir_sdk.skeleton import get_skeleton

try:
    with telemetry.off():  # it imports OpenVINO
        from model_api.adapters import OpenvinoAdapter
        from model_api.models import Model
        from model_api.models.parameters import ParameterRegistry
        from model_api.models.result import DetectedKeypoints
        from model_api.models.types import NumericalValue
except ImportError as error:
    raise InstallError(
        f"boir_sdk.model_api needs the package openvino-model-api ({error}): pip install openvino-model-api, in an "
        "environment with opencv-python-headless (docs/install.md)"
    ) from error

_FIRST_PICTURE = (480, 640)  # height and width to compile for before a picture was seen
_PER_PERSON = ("vectors", "regress")  # a row a person; the other outputs of the dense graph are maps for everybody


class BoIR(Model):  # type: ignore[misc]
    """Multi-person pose estimation with a bundle; like any wrapper of Model API, not to be called by two threads.

    The graphs are compiled for one shape of pictures at a time: a picture of another shape waits for those in flight
    and compiles again. Configuration: `confidence_threshold` (people below it are left out, 0..1; the bundle's by
    default) and `size` (network pixels, one of the bundle's).
    """

    __model__ = "BoIR"

    def __init__(
        self, inference_adapter: OpenvinoAdapter, configuration: dict[str, Any] | None = None, preload: bool = False
    ) -> None:
        """Read the bundle round the graph, and compile both if `preload`.

        Raises:
            WrapperError: the adapter isn't OpenVINO's own, the graph isn't the dense one of an undamaged bundle, or the
                size isn't one of it.
        """
        super().__init__(inference_adapter, configuration or {}, preload=False)
        if not isinstance(inference_adapter, OpenvinoAdapter) or inference_adapter.model_from_buffer:
            self.raise_error("give the path of a bundle's dense.xml: the person graph beside it is needed too")
        path = Path(inference_adapter.model_path).absolute()
        try:
            self._bundle = bundle.read(path.parent.parent)
        except BoirError as error:
            self.raise_error(str(error))
        manifest = self._bundle.manifest
        if path not in [self._bundle.graph(precision, "dense") for precision in manifest.precisions]:
            self.raise_error(f"{path} is not the dense graph of the bundle {manifest.name}")
        self._size = self.params.size or manifest.default_size
        if self._size not in manifest.sizes:
            self.raise_error(f"size {self._size} is not offered by {manifest.name}: {manifest.sizes}")
        if inference_adapter.device in ("CPU", "AUTO"):  # which would compute floats in bfloat16 where the CPU has it
            plugin_config = {"INFERENCE_PRECISION_HINT": "f32", **(inference_adapter.plugin_config or {})}
            inference_adapter.plugin_config = plugin_config
        self._person = OpenvinoAdapter(
            inference_adapter.core,
            str(path.with_name("person.xml")),
            device=inference_adapter.device,
            plugin_config=inference_adapter.plugin_config,
        )
        self._person_shapes: dict[str, list[int]] = {}
        self._lock = threading.Lock()  # results of asynchronous inference come in threads of their own
        self._fix_shape(self._fit(*_FIRST_PICTURE))
        if preload:
            self.load()

    @classmethod
    def parameters(cls) -> dict[str, Any]:
        """Describe what can be configured, in Model API's form."""
        parameters: dict[str, Any] = super().parameters()
        parameters.update(ParameterRegistry.merge(ParameterRegistry.LABELS, ParameterRegistry.CONFIDENCE_THRESHOLD))
        parameters["size"] = NumericalValue(value_type=int, min=1, description="Network size, pixels")
        return parameters

    def base_preprocess(self, inputs: NDArray[np.uint8]) -> list[Any]:
        """Make the network picture of uint8 BGR [H, W, 3], and compile for its shape if it is new."""
        fit = self._fit(*inputs.shape[:2])
        if [fit.height, fit.width] != list(self.inputs["picture"].shape[1:3]):
            self.await_all()
            self._fix_shape(fit)
            self.load(force=True)
            self.set_callback(self.callback_fn)  # which the queue of the new graph doesn't know
        return [{"picture": warp.apply(inputs, fit)[None]}, {"fit": fit}]

    def postprocess(self, outputs: dict[str, NDArray[Any]], meta: dict[str, Any]) -> list[DetectedKeypoints]:
        """Return each person's keypoints [K, 2] in pixels of the picture and their scores [K], 0..1, the best first.

        A person's own score is the mean of the keypoints' scores.
        """
        manifest = self._bundle.manifest
        threshold = np.float32(self.params.confidence_threshold)
        # Who scores too little as a centre already can't score enough as a person.
        least = max(np.float32(manifest.center_threshold), np.nextafter(threshold, np.float32(0)))
        people = outputs["people"][outputs["people"][:, 0] > least]
        if not len(people):
            return []
        with self._lock:
            found = np.stack([self._keypoints(outputs, row, yx) for row, yx in enumerate(people[:, 1:])])
        xy = warp.back(found[:, :, :2], meta["fit"])
        scores = found[:, :, 2] * people[:, :1]
        means = scores.mean(axis=1, dtype=np.float32)
        kept = oks.suppress(xy, means, get_skeleton(manifest.skeleton).sigmas, manifest.oks_threshold)
        return [DetectedKeypoints(xy[i], scores[i]) for i in kept if means[i] >= threshold]

    def _keypoints(self, outputs: dict[str, NDArray[Any]], row: int, yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """One person's keypoints [K, 3] in network pixels: x, y, peak."""
        inputs = {name: value[:, row : row + 1] if name in _PER_PERSON else value for name, value in outputs.items()}
        del inputs["people"]
        inputs["center_yx"] = yx[None]
        shapes = {name: list(value.shape) for name, value in inputs.items()}
        if shapes != self._person_shapes:
            self._person.reshape_model(shapes)
            self._person.load_model()
            self._person_shapes = shapes
        return np.array(self._person.infer_sync(inputs)["keypoints"][0])

    def _fit(self, height: int, width: int) -> warp.Fit:
        manifest = self._bundle.manifest
        return warp.fit_as(manifest, height, width, self._size)

    def _fix_shape(self, fit: warp.Fit) -> None:
        self.model_loaded = False  # and so Model API doesn't warn of a graph that is compiled again
        self.reshape({"picture": [1, fit.height, fit.width, 3]})
