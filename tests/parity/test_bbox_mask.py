"""Bbox Mask Loss in its three forms against the fixtures, T1.5 and T1.6."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from boir_train.losses.embedding import bbox_mask_loss, paper_regions, paper_terms
from tests.conftest import FIXTURES_TRAIN
from tests.parity.agreement import assert_close
from tests.parity.cases import Case, cases

# form, detach_similarity, array of the value, prefix of the gradient's arrays
FORMS = [
    ("paper", True, "paper_loss", "paper_grad_detached"),
    ("paper", False, "paper_loss", "paper_grad_through"),
    ("published-0", True, "published_level0", "published_level0_grad"),
    ("published-1", True, "published_level1", "published_level1_grad"),
]


def _vanishing(case: Case) -> bool:
    """Gradients are zero in theory (T6): a constant map, or one channel."""
    return case.record["params"]["D"] == 1 or "constant" in case.record["notes"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("form", "detach", "value", "prefix"), FORMS, ids=[form[3] for form in FORMS])
@pytest.mark.parametrize("case", cases("bbox_mask", FIXTURES_TRAIN))
def test_value_and_gradient(case: Case, form: str, detach: bool, value: str, prefix: str, dtype: torch.dtype) -> None:
    data, params = case.arrays(), case.record["params"]
    emb = torch.from_numpy(data["emb"]).to(dtype).requires_grad_()
    counts = torch.from_numpy(data["counts"])

    loss = bbox_mask_loss(
        emb,
        torch.from_numpy(data["boxes"]),
        counts,
        form=form,
        beta=params["beta"],
        detach_similarity=detach,
    )
    if form != "paper":
        loss = loss * counts.sum()  # the fixtures hold the sum before the division by people
    loss.backward()
    gradient = emb.grad.numpy()

    double = dtype == torch.float64
    assert_close(loss, data[value], relative=1e-9 if double else 1e-5, what="value")
    limits = {"relative": 1e-6 if double else 1e-5, "absolute": 1e-6 if _vanishing(case) and not double else 1e-12}
    if prefix in data:
        assert_close(gradient, data[prefix], **limits, what="gradient")
    else:
        height, width = gradient.shape[2:]
        assert_close(np.linalg.norm(gradient), data[f"{prefix}_norm"], **limits, what="gradient norm")
        assert_close(gradient[:, :, height // 2], data[f"{prefix}_rows"], **limits, what="gradient rows")
        assert_close(gradient[:, :, :, width // 3], data[f"{prefix}_cols"], **limits, what="gradient columns")


@pytest.mark.parametrize("case", cases("bbox_mask", FIXTURES_TRAIN))
def test_regions_and_single_terms_of_the_paper_form(case: Case) -> None:
    data, beta = case.arrays(), case.record["params"]["beta"]
    emb = torch.nn.functional.normalize(torch.from_numpy(data["emb"]).double(), dim=1)
    height, width = emb.shape[2:]
    regions = paper_regions(torch.from_numpy(data["boxes"]), height, width)
    np.testing.assert_array_equal(regions.bounds.numpy(), data["paper_bounds"])
    np.testing.assert_array_equal(regions.yx.numpy(), data["paper_centers_yx"])

    first = 0
    for picture, count in enumerate(data["counts"]):
        if count:
            own = regions.keep(torch.arange(first, first + count))
            cells = emb[picture].flatten(1)
            anchors = emb[picture][:, own.yx[:, 0], own.yx[:, 1]].T
            terms = paper_terms(cells, own.masks(height, width, cells.dtype), anchors, beta=beta)
            assert_close(terms, data["paper_terms"][picture], relative=1e-9, what=f"terms of picture {picture}")
        first += count
