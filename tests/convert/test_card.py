"""The model card: its front matter says what model hubs read, and every known fact stands in it once."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from boir_convert import card
from boir_sdk import bundle
from boir_sdk.errors import ConfigError
from tests.sdk.test_manifest import GOOD

FACTS = {
    "description": "Poses: quick ones.",
    "trained_on": "pictures: many",
    "limits": ["crowds", "small people"],
    "licence": "apache-2.0",
    "datasets": ["detection-datasets/coco"],
    "metrics": [
        {
            "dataset": "COCO val2017, 112 pictures",
            "metric": "AP",
            "value": 40.7,
            "precision": "int8",
            "size": 512,
            "pictures": 112,
            "low": 34.5,
            "high": 45.8,
        }
    ],
    "checkpoint_sha256": "ab" * 32,
    "calibration": {"pictures": 200, "in_float": ["\\.stem/", "\\.lat[2-5]/"]},
}
MEASURED = card.Figure(dataset="crowded", metric="AP", value=31.86, precision="fp16", size=512)


def about(**facts):
    return dataclasses.replace(GOOD, provenance=facts)


def parsed(text):
    """Front matter and body; the first three dashes open it, the next ones close it."""
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_front_matter():
    front, _ = parsed(card.write(about(**FACTS), [MEASURED]))
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "openvino"
    assert front["pipeline_tag"] == "keypoint-detection"
    assert front["datasets"] == ["detection-datasets/coco"]
    (index,) = front["model-index"]
    assert index["name"] == "tiny"
    crowded, coco = index["results"]
    assert crowded["dataset"] == {"type": "crowded", "name": "crowded"}
    assert coco["dataset"]["type"] == "coco-val2017-112-pictures"
    assert [metric["value"] for metric in coco["metrics"]] == [40.7]
    assert crowded["metrics"][0]["type"] == "ap"
    assert crowded["task"]["type"] == "keypoint-detection"


def test_without_figures_there_is_no_model_index():
    front, body = parsed(card.write(about()))
    assert "model-index" not in front
    assert "How good it is" not in body


def test_body_has_every_fact():
    _, body = parsed(card.write(about(**FACTS), [MEASURED]))
    for words in (
        "Poses: quick ones.",
        "* crowds\n* small people",
        "| COCO val2017, 112 pictures | 112 | int8 | 512 | AP | 40.7 (34.5 to 45.8) |",
        "| crowded |  | fp16 | 512 | AP | 31.9 |",
        "* checkpoint_sha256: " + "ab" * 32,
        "in_float `\\.stem/`",
        "default 256",
    ):
        assert body.count(words) == 1, words
    assert "metrics" not in body


@pytest.mark.parametrize(
    "metrics",
    [
        "40.7",
        [40.7],
        [{"dataset": "coco"}],
        [{**FACTS["metrics"][0], "surprise": 1}],
        [{**FACTS["metrics"][0], "value": "good"}],
        [{**FACTS["metrics"][0], "value": None}],
    ],
)
def test_metrics_that_are_none(metrics):
    with pytest.raises(ConfigError, match="metric"):
        card.write(about(metrics=metrics))


def test_a_text_that_looks_like_yaml_stays_a_text():
    front, _ = parsed(card.write(about(licence="no: [yes")))
    assert front["license"] == "no: [yes"


@pytest.mark.parametrize("figures", [(), (MEASURED,)])
def test_a_hub_reads_it(figures):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    read = hub.ModelCard(card.write(about(**FACTS), figures))
    assert read.data.license == "apache-2.0"
    assert read.data.pipeline_tag == "keypoint-detection"
    results = {(one.dataset_name, one.metric_value) for one in read.data.eval_results}
    assert ("COCO val2017, 112 pictures", 40.7) in results
    assert len(results) == 1 + len(figures)


@pytest.mark.parametrize("name", bundle.EMBEDDED)
def test_the_embedded_bundles_cards_parse(name):
    front, body = parsed((bundle.embedded_path(name) / "README.md").read_text(encoding="utf-8"))
    assert front["pipeline_tag"] == "keypoint-detection"
    assert bundle.read(name).manifest.name in body
