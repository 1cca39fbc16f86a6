"""The `nano` backbone: MobileNetV2 at width 1.5 with a feature pyramid down to stride 4.

The layers, names and paddings are those of the public start weights (MoveNet MultiPose Lightning, Apache-2.0), whose
batch norms were folded into the convolutions: every convolution has a bias, except the depthwise ones of separable
layers, and there is no normalisation anywhere.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# Inverted-residual blocks: (expands its input six-fold, channels out, stride).
_BLOCKS = (
    (False, 24, 1),
    (True, 40, 2),
    (True, 40, 1),
    (True, 48, 2),
    (True, 48, 1),
    (True, 48, 1),
    (True, 96, 2),
    (True, 96, 1),
    (True, 96, 1),
    (True, 96, 1),
    (True, 144, 1),
    (True, 144, 1),
    (True, 144, 1),
    (True, 240, 2),
    (True, 240, 1),
    (True, 240, 1),
    (True, 480, 1),
)
_TAPS = {2: "c2", 5: "c3", 9: "c4", 12: "c4b"}

FINE_CHANNELS = 24  # p2, stride 4
CONTEXT_CHANNELS = (144, 1280)  # c4b at stride 16, c5 at stride 32


class _Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution padded as the start weights were trained: stride 2 pads right and bottom only."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, stride, 1 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)) if self.stride[0] == 2 else x)


class _InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int, expands: bool) -> None:
        super().__init__()
        hidden = 6 * channels_in if expands else channels_in
        self.expand = nn.Conv2d(channels_in, hidden, 1) if expands else None
        self.depthwise = _Conv3x3(hidden, hidden, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, channels_out, 1)
        self.adds_input = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.adds_input else y


class Separable(nn.Module):
    """Depthwise 3 x 3 without bias or activation, then pointwise with bias and ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels_in, H, W] -> [B, channels_out, H, W]."""
        return F.relu(self.pointwise(self.depthwise(x)))


def double(x: Tensor) -> Tensor:
    """Enlarge [B, C, h, w] to [B, C, 2h, 2w] bilinearly with half-pixel centres."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class MobileNetFPN(nn.Module):
    """Picture [B, 3, H, W] (normalised to -1..1, sides multiples of 32) to the maps the heads read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv3x3(3, 48, 2)
        channels, blocks = 48, []
        for expands, channels_out, stride in _BLOCKS:
            blocks.append(_InvertedResidual(channels, channels_out, stride, expands))
            channels = channels_out
        self.blocks = nn.ModuleList(blocks)
        self.tail = nn.Conv2d(480, 1280, 1)
        self.lat5, self.lat4 = nn.Conv2d(1280, 64, 1), nn.Conv2d(96, 64, 1)
        self.lat3, self.lat2 = nn.Conv2d(48, 32, 1), nn.Conv2d(40, FINE_CHANNELS, 1)
        self.fpn4, self.fpn3, self.fpn2 = Separable(64, 32), Separable(32, 24), Separable(24, FINE_CHANNELS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return p2 [B, 24, H/4, W/4], c4b [B, 144, H/16, W/16] and c5 [B, 1280, H/32, W/32]."""
        taps: dict[str, Tensor] = {}
        x = F.relu6(self.stem(x))
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in _TAPS:
                taps[_TAPS[index]] = x
        c5 = F.relu6(self.tail(x))
        p4 = self.fpn4(double(self.lat5(c5)) + self.lat4(taps["c4"]))
        p3 = self.fpn3(double(p4) + self.lat3(taps["c3"]))
        p2 = self.fpn2(double(p3) + self.lat2(taps["c2"]))
        return p2, taps["c4b"], c5


class PoseHead(nn.Module):
    """A head of the start: separable layer to 96 hidden channels, then a 1 x 1 convolution to raw outputs."""

    hidden_channels = 96

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.sep = Separable(FINE_CHANNELS, self.hidden_channels)
        self.out = nn.Conv2d(self.hidden_channels, channels_out, 1)

    def forward(self, p2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden map [B, 96, h, w] (it doubles as a pose feature) and the output [B, n, h, w]."""
        hidden = self.sep(p2)
        return hidden, self.out(hidden)


class ContextFeature(nn.Module):
    """Wide context for the person head: c4b and c5 brought to stride 8, mixed, enlarged to stride 4."""

    channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.from_c4b, self.from_c5 = (nn.Conv2d(channels, self.channels, 1) for channels in CONTEXT_CHANNELS)
        self.mix = Separable(self.channels, self.channels)

    def forward(self, c4b: Tensor, c5: Tensor) -> Tensor:
        """Return [B, 32, H/4, W/4]."""
        return double(double(self.mix(self.from_c4b(c4b) + double(self.from_c5(c5)))))
