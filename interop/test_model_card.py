"""The model card is read by huggingface_hub, and says there what it says here."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard, ModelCardData

from boir_convert import card
from boir_sdk import bundle

FIGURE = card.Figure("COCO val2017, 112 pictures", "AP", 43.5, "int8", 512, 112, 38.0, 49.3)


@pytest.fixture(scope="module")
def opened() -> bundle.Bundle:
    return bundle.read("default")


def test_the_embedded_card_as_a_hub_reads_it(opened: bundle.Bundle) -> None:
    read = ModelCard.load(opened.path / "README.md")
    data = read.data
    assert data.license == "apache-2.0"
    assert data.library_name == "openvino"
    assert data.pipeline_tag == "keypoint-detection"
    assert {"pose-estimation", "openvino", "nano", "coco17"} <= set(data.tags)
    assert data.model_name == opened.manifest.name
    assert data.eval_results, "no figures in model-index"
    for result in data.eval_results:
        assert result.task_type == "keypoint-detection"
        assert result.dataset_name and result.dataset_type
        assert 0 < float(result.metric_value) <= 100
    assert "How to run it" in read.text


def test_a_figure_arrives_whole(opened: bundle.Bundle) -> None:
    read = ModelCard(card.write(opened.manifest, [FIGURE]))
    (result,) = [one for one in read.data.eval_results if one.metric_name == "AP, int8, 512 pixels"][:1]
    assert (result.dataset_name, result.metric_type, result.metric_value) == (FIGURE.dataset, "ap", 43.5)
    assert result.dataset_type == "coco-val2017-112-pictures"


def test_the_hub_writes_the_same_front_matter(opened: bundle.Bundle) -> None:
    read = ModelCard.load(opened.path / "README.md")
    again = ModelCard(f"---\n{read.data.to_yaml()}\n---\n{read.text}")
    assert isinstance(again.data, ModelCardData)
    assert again.data.to_dict() == read.data.to_dict()
