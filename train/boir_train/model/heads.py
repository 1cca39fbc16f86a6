"""The dense heads on the neck: person centres always, three auxiliary ones in training (SPEC-model M2.3)."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import relu

from boir_train.model.neck import ASPP
from boir_train.model.neck import OUT as NECK

HIDDEN = 128
EMBEDDING = 128
BOX = 4


class HeadBlock(nn.Module):
    """Two 3x3 convolutions round a 1x1 shortcut that changes the width from 256 to 128."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(NECK, HIDDEN, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(HIDDEN)
        self.conv2 = nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(HIDDEN)
        shortcut = {"conv": nn.Conv2d(NECK, HIDDEN, 1, bias=False), "norm_layer": nn.BatchNorm2d(HIDDEN)}
        self.downsample = nn.Sequential(OrderedDict(shortcut))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 256, H, W] -> [B, 128, H, W]."""
        y = relu(self.bn1(self.conv1(x)), inplace=True)
        return relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)


class Head(nn.Module):
    """A residual block and a 3x3 convolution with bias: raw outputs, no activation."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.head = nn.Sequential(HeadBlock(), nn.Conv2d(HIDDEN, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 256, H, W] -> [B, outputs, H, W]."""
        return self.head(x)


class MultiHead(nn.Module):
    """Neck and heads; the auxiliary heads exist only in the training form."""

    def __init__(self, inputs: int, keypoints: int, *, auxiliary: bool) -> None:
        super().__init__()
        self.neck = nn.Sequential(ASPP(inputs))
        self.center_head = Head(1)
        if auxiliary:
            self.buk_head = Head(keypoints)
            self.emb_head = Head(EMBEDDING)
            self.bbox_head = Head(BOX)

    def auxiliary(self, neck: Tensor) -> dict[str, Tensor]:
        """The training form's extra outputs [B, K, H, W], [B, 128, H, W], [B, 4, H, W] from the neck [B, 256, H, W]."""
        return {
            "keypoint_logits": self.buk_head(neck),
            "embedding": self.emb_head(neck),
            "box": self.bbox_head(neck),
        }
