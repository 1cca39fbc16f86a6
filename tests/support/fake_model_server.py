"""A small server that answers as OpenVINO Model Server does: KServe's REST interface, graphs run by OpenVINO."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import openvino as ov

from boir_sdk import signal_stack

TYPES = {"FP32": np.float32, "UINT8": np.uint8}
NAMES = {"f32": "FP32", "u8": "UINT8"}


@contextmanager
def serving(config: Path, *, binary: bool = True) -> Iterator[str]:
    """Serve the models of a configuration file on a free port; gives the address.

    Args:
        config: relative base paths start at its folder, as in the real server.
        binary: answer with bytes where the client asks for them; else with numbers in JSON.
    """
    models = {}
    with signal_stack.preserved():
        core = ov.Core()
        for item in json.loads(config.read_text())["model_config_list"]:
            entry = item["config"]
            base = config.parent / entry["base_path"]
            newest = max(base.iterdir(), key=lambda place: int(place.name))
            model = core.read_model(newest / "model.xml")  # the real server also takes names from here
            names = tuple([port.get_any_name() for port in ports] for ports in (model.inputs, model.outputs))
            models[entry["name"]] = core.compile_model(model, entry["target_device"], entry["plugin_config"]), *names

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                answer, tail = _answer(models, self.path, body, self.headers, binary)
                code = 200
            except (LookupError, ValueError, RuntimeError) as error:
                answer, tail, code = {"error": str(error)}, b"", 400
            head = json.dumps(answer).encode()
            self.send_response(code)
            if tail:
                self.send_header("Inference-Header-Content-Length", str(len(head)))
            self.send_header("Content-Length", str(len(head) + len(tail)))
            self.end_headers()
            self.wfile.write(head + tail)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(models, path, body, headers, binary):
    _, version, kind, name, verb = path.split("/")
    if (version, kind, verb) != ("v2", "models", "infer") or name not in models:
        raise LookupError(f"no model at {path}")
    (model, inputs, names), place = models[name], int(headers["Inference-Header-Content-Length"])
    request = json.loads(body[:place])
    given = {}
    for item in request["inputs"]:
        port = model.inputs[inputs.index(item["name"])]
        if list(port.shape) != item["shape"] or NAMES[port.element_type.get_type_name()] != item["datatype"]:
            raise ValueError(f"invalid shape or type of {item['name']}: {item['shape']} {item['datatype']}")
        size = item["parameters"]["binary_data_size"]
        values = np.frombuffer(body[place : place + size], TYPES[item["datatype"]])
        given[item["name"]] = values.reshape(item["shape"])
        place += size
    if place != len(body) or given.keys() != set(inputs):
        raise ValueError("the request's tensors are not the model's inputs")
    results = model.create_infer_request().infer([given[name] for name in inputs])
    outputs, tail = [], b""
    for index, name in enumerate(names):
        values = results[index]
        entry = {"name": name, "shape": list(values.shape), "datatype": "FP32"}
        if binary and request["parameters"]["binary_data_output"]:
            entry["parameters"] = {"binary_data_size": values.nbytes}
            tail += values.tobytes()
        else:
            entry["data"] = values.ravel().tolist()
        outputs.append(entry)
    return {"model_name": path.split("/")[3], "model_version": "1", "outputs": outputs}, tail
