"""The folder for OpenVINO Model Server holds to what the server's documentation says of its configuration.

The server itself comes as a container image or an archive, neither of which pip or apt brings: where a program `ovms`
is on the path it is run, and elsewhere the last test says that it was skipped.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray

from boir_convert import ovms, ovms_client
from boir_sdk import PoseEstimator, signal_stack

# As the server's documentation describes a file with models only; it refuses keys that it doesn't know.
ENTRY = {
    "type": "object",
    "required": ["name", "base_path"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "base_path": {"type": "string", "minLength": 1},
        "target_device": {"type": "string"},
        "plugin_config": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
        "nireq": {"type": "integer", "minimum": 0},
        "batch_size": {"type": ["integer", "string"]},
        "model_version_policy": {"type": "object"},
        "shape": {"type": ["object", "string"]},
        "layout": {"type": ["object", "string"]},
    },
}
CONFIG = {
    "type": "object",
    "required": ["model_config_list"],
    "additionalProperties": False,
    "properties": {
        "model_config_list": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["config"],
                "additionalProperties": False,
                "properties": {"config": ENTRY},
            },
        }
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ovms") / "server"
    ovms.pack(ovms.Request("default", out, name="boir", size=256, picture=(480, 270), people=2))
    return out


@pytest.fixture(scope="module")
def config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_the_configuration_is_of_the_documented_form(config: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(CONFIG)
    jsonschema.validate(config, CONFIG)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "models": []}, CONFIG)


def test_versions_are_whole_numbers_with_one_graph_each(folder: Path, config: Any) -> None:
    for item in config["model_config_list"]:
        versions = list((folder / item["config"]["base_path"]).iterdir())
        assert versions and all(place.name.isdigit() and int(place.name) > 0 for place in versions)
        for place in versions:
            assert {path.suffix for path in place.iterdir()} == {".xml", ".bin"}


def test_openvino_takes_the_plugin_settings(folder: Path, config: Any) -> None:
    with signal_stack.preserved():
        core = ov.Core()
        for item in config["model_config_list"]:
            entry = item["config"]
            graph = next((folder / entry["base_path"]).glob("*/model.xml"))
            compiled = core.compile_model(graph, entry["target_device"], entry["plugin_config"])
            assert compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
            assert compiled.get_property("PERFORMANCE_HINT") == "LATENCY"


@pytest.mark.skipif(shutil.which("ovms") is None, reason="needs the program ovms (OpenVINO Model Server) on the path")
def test_the_server_itself_gives_the_estimators_people(folder: Path, picture: NDArray[np.uint8]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["ovms", "--config_path", str(folder / "config.json"), "--rest_port", str(port)]
    with subprocess.Popen([*command, "--rest_bind_address", "127.0.0.1"]) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(server, url)
            facts = json.loads((folder / "boir.json").read_text(encoding="utf-8"))
            found = ovms_client.find_people(picture, url, facts)
        finally:
            server.terminate()
    with PoseEstimator(size=256, second_look=False) as estimator:
        expected = estimator(picture)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-2)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def _wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    end_s = time.monotonic() + 300
    while time.monotonic() < end_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=10) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server is not ready (exit code {server.poll()})")
