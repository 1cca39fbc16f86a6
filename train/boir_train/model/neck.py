"""The neck: one atrous spatial pyramid between the backbone and the heads (SPEC-model M2.2)."""

from __future__ import annotations

from torch import Tensor, cat, nn
from torch.nn.functional import batch_norm

MIDDLE = 128
OUT = 256
RATES = (12, 24, 36)


class PooledBranch(nn.Sequential):
    """Mean over all pixels, 1x1 convolution, batch norm, ReLU: one vector a picture."""

    def __init__(self, inputs: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inputs, MIDDLE, 1, bias=False),
            nn.BatchNorm2d(MIDDLE),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 128, 1, 1]."""
        pool, conv, norm, active = self
        y = conv(pool(x))
        if self.training and len(y) == 1 and type(norm) is nn.BatchNorm2d:
            # one vector has no variance: a last batch of one picture uses the running statistics instead of failing
            return active(batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps))
        return active(norm(y))


class ASPP(nn.Module):
    """Five looks at the feature, from one cell to the whole picture, concatenated and projected."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                _branch(inputs, kernel=1, rate=0),
                *(_branch(inputs, kernel=3, rate=rate) for rate in RATES),
                PooledBranch(inputs),
            ]
        )
        self.project = nn.Sequential(
            nn.Conv2d(5 * MIDDLE, OUT, 1, bias=False), nn.BatchNorm2d(OUT), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 256, H, W]."""
        branches = [branch(x) for branch in self.convs]
        # bilinear enlargement of a single cell is the constant
        branches[-1] = branches[-1].expand(-1, -1, *x.shape[-2:])
        return self.project(cat(branches, dim=1))


def _branch(inputs: int, *, kernel: int, rate: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, MIDDLE, kernel, padding=rate, dilation=max(rate, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(MIDDLE), nn.ReLU(inplace=True))
