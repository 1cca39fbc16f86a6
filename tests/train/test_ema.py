"""Averaged weights: the recurrence, what is averaged, resuming, and borrowing the model for an evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from boir_train.blend import carrying
from boir_train.ema import Ema, decay_at


def _model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def _disturb(model: nn.Module, amount: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount)
        model[1].running_mean.add_(amount)
        model[1].num_batches_tracked.add_(1)


def test_decay_warms_up_to_its_limit() -> None:
    decays = [decay_at(update, 0.99) for update in range(2000)]
    assert decays[0] == pytest.approx(0.1)
    assert decays == sorted(decays)
    assert decays[-1] == 0.99


def test_recurrence_over_weights_and_statistics() -> None:
    model = _model()
    ema = Ema(model, 0.9)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(20):
        _disturb(model, 0.1 * step)
        ema.update(model)
        decay = decay_at(step, 0.9)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value.clone()
    for name, value in ema.weights().items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert int(ema.weights()["1.num_batches_tracked"]) == 20


def test_averages_are_no_views_of_the_model() -> None:
    model = _model()
    ema = Ema(model, 0.9)
    before = ema.weights()["0.weight"].clone()
    _disturb(model, 5.0)
    assert torch.equal(ema.weights()["0.weight"], before)


def test_half_precision_weights_are_averaged_in_float32() -> None:
    model = _model().to(torch.bfloat16)
    ema = Ema(model, 0.999)
    assert ema.weights()["0.weight"].dtype == torch.float32
    _disturb(model, 1.0)
    ema.update(model)
    with carrying(model, ema.weights()):
        assert model[0].weight.dtype == torch.bfloat16


def test_resumed_averages_continue_bit_equal() -> None:
    model = _model()
    whole = Ema(model, 0.9)
    for step in range(3):
        _disturb(model, 0.3 * step)
        whole.update(model)
    resumed = Ema(_model(1), 0.9)
    resumed.load_state_dict(whole.state_dict())
    for step in range(3):
        _disturb(model, -0.2 * step)
        whole.update(model)
        resumed.update(model)
    assert resumed.updates == whole.updates == 6
    for name, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name


def test_model_gets_its_own_weights_back() -> None:
    model = _model()
    ema = Ema(model, 0.9)
    _disturb(model, 1.0)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="evaluation broke"), carrying(model, ema.weights()):
        assert torch.equal(model[0].weight, ema.weights()["0.weight"])
        raise RuntimeError("evaluation broke")
    for name, value in model.state_dict().items():
        assert torch.equal(value, own[name]), name


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        Ema(_model(), decay)
