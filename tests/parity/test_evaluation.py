"""Evaluation numbers to the last digit, both protocols, T4.2 and T4.3."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from boir_train import evaluation
from boir_train.bootstrap import average_precision
from tests.conftest import FIXTURES_TRAIN
from tests.parity.cases import Case, cases


def _protocol(case: Case) -> evaluation.Protocol:
    return "crowdpose" if "crowdpose" in case.record["params"]["protocol"] else "coco"


def _measured(case: Case) -> COCOeval:
    data, protocol = case.json(), _protocol(case)
    skeleton = evaluation.protocol_skeleton(protocol)
    images = [image["id"] for image in data["ground_truth"]["images"]]
    truth = evaluation._ground_truth(data["ground_truth"], protocol, case.id)
    results = evaluation._results(data["detections"], images, len(skeleton))
    return evaluation.measure(truth, results, skeleton, images)


@pytest.mark.parametrize("case", cases("evaluation", FIXTURES_TRAIN))
def test_all_numbers_in_order(case: Case) -> None:
    data = case.json()
    result = evaluation.evaluate(data["ground_truth"], data["detections"], _protocol(case))
    np.testing.assert_allclose(list(result.stats.values()), data["stats_list"], rtol=0, atol=1e-12)
    assert result.stats["AP"] == pytest.approx(data["stats"]["AP"], abs=1e-12)
    assert result.stats["AR75"] == pytest.approx(data["stats"]["AR75"], abs=1e-12)
    assert result.images == len(data["ground_truth"]["images"])
    for group in ("AP_easy", "AP_medium", "AP_hard"):
        if _protocol(case) == "crowdpose":
            assert result.stats[group] == data["stats"][group]


@pytest.mark.parametrize("case", cases("evaluation", FIXTURES_TRAIN))
def test_similarities_and_thresholds(case: Case) -> None:
    data, evaluator = case.json(), _measured(case)
    for image, expected in data["oks_first_images"].items():
        similarity = np.asarray(evaluator.ious[int(image), 1])
        np.testing.assert_allclose(similarity.reshape(np.shape(expected)), expected, rtol=1e-12, atol=1e-15)
    precision = evaluator.eval["precision"][:, :, 0, :, 0].mean(axis=1)  # [10, 3]
    expected = np.asarray(data["ap_by_threshold_and_area"])
    np.testing.assert_allclose(precision[:, : expected.shape[1]], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", cases("evaluation", FIXTURES_TRAIN))
def test_matches_give_the_same_precision(case: Case) -> None:
    data = case.json()
    result = evaluation.evaluate(data["ground_truth"], data["detections"], _protocol(case))
    assert average_precision(result.matches) == pytest.approx(data["stats"]["AP"], abs=1e-12)


@pytest.mark.parametrize("case", cases("evaluation", FIXTURES_TRAIN))
def test_second_opinion_of_faster_coco_eval(case: Case) -> None:
    faster = pytest.importorskip("faster_coco_eval")
    data, protocol = case.json(), _protocol(case)
    skeleton = evaluation.protocol_skeleton(protocol)
    people = [
        {**person, "area": 0.53 * person["bbox"][2] * person["bbox"][3]} if protocol == "crowdpose" else person
        for person in data["ground_truth"]["annotations"]
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = faster.COCO({**data["ground_truth"], "annotations": people})
        evaluator = faster.COCOeval_faster(truth, truth.loadRes(data["detections"]), "keypoints", print_function=print)
        evaluator.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluator.run()
    result = evaluation.evaluate(data["ground_truth"], data["detections"], protocol)
    np.testing.assert_allclose(evaluator.stats[:3], [result.stats[key] for key in ("AP", "AP50", "AP75")], atol=1e-12)
    np.testing.assert_allclose(evaluator.stats[5:8], [result.stats[key] for key in ("AR", "AR50", "AR75")], atol=1e-12)
