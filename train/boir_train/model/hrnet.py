"""HRNet, the paper's backbone: four resolutions side by side, brought to stride 4 at the end (SPEC-model M2.1)."""

from __future__ import annotations

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate, relu

STEM = 64
BLOCKS = 4  # residual blocks in layer1 and in every branch of every module
MODULES = {2: 1, 3: 4, 4: 3}  # stage (which has as many branches) -> modules


def conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, active: bool = True) -> nn.Sequential:
    """A bias-free convolution that keeps the size (at stride 1), batch norm and, when `active`, a ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if active else nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions round a shortcut; the output has four times `width` channels."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs, 1, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, 4 * width, h, w]."""
        y = relu(self.bn1(self.conv1(x)), inplace=True)
        y = relu(self.bn2(self.conv2(y)), inplace=True)
        return relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions round an identity shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] -> the same shape."""
        y = relu(self.bn1(self.conv1(x)), inplace=True)
        return relu(self.bn2(self.conv2(y)) + x, inplace=True)


class Exchange(nn.Module):
    """One HRNet module: residual blocks in every branch, then every output sums all branches."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(BLOCKS))) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_route(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map a branch in, one out; map b is [B, widths[b], H / 2^b, W / 2^b]."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        outputs = []
        for routes in self.fuse_layers:
            total = routes[0](maps[0])
            # left to right from branch 0: float addition isn't associative and parity shows it
            for route, x in zip(routes[1:], maps[1:], strict=True):
                total = total + route(x)
            outputs.append(relu(total))
        return outputs


def _route(widths: list[int], source: int, target: int) -> nn.Module:
    """How branch `source` reaches the resolution and width of branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        enlarge = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*conv_norm(widths[source], widths[target], 1, active=False), enlarge)
    halvings = [conv_norm(widths[source], widths[source], 3, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, conv_norm(widths[source], widths[target], 3, stride=2, active=False))


class HRNet(nn.Module):
    """HRNet-W`width`; output channels are `out_channels` = 15 * width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**branch for branch in range(4)]
        self.out_channels = sum(widths)
        self.conv1 = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.conv2 = nn.Conv2d(STEM, STEM, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM)
        inputs = [STEM] + [4 * STEM] * (BLOCKS - 1)
        self.layer1 = nn.Sequential(*(Bottleneck(n, STEM) for n in inputs))
        # a branch that already exists passes through; a new one starts from the lowest resolution there is
        self.transition1 = nn.ModuleList(
            [conv_norm(4 * STEM, widths[0], 3), nn.Sequential(conv_norm(4 * STEM, widths[1], 3, stride=2))]
        )
        self.stage2 = _stage(widths[:2])
        self.transition2 = _new_branch(widths[:3])
        self.stage3 = _stage(widths[:3])
        self.transition3 = _new_branch(widths)
        self.stage4 = _stage(widths)

    def levels(self, x: Tensor) -> list[Tensor]:
        """[B, 3, H, W], normalised, sides multiples of 32 -> branch b: [B, width * 2^b, H / 2^(b+2), W / 2^(b+2)]."""
        x = relu(self.bn1(self.conv1(x)), inplace=True)
        x = relu(self.bn2(self.conv2(x)), inplace=True)
        maps = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            maps = stage([step(y) for step, y in zip(transition, [*maps, maps[-1]], strict=True)])
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] as in `levels` -> features [B, 15 * width, H / 4, W / 4]."""
        maps = self.levels(x)
        size = maps[0].shape[-2:]
        return cat([maps[0], *(enlarge(y, size) for y in maps[1:])], dim=1)


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, h, w] to [B, C, *size], bilinear with half-pixel centres."""
    return interpolate(x, size=size, mode="bilinear", align_corners=False)


def _stage(widths: list[int]) -> nn.Sequential:
    return nn.Sequential(*(Exchange(widths) for _ in range(MODULES[len(widths)])))


def _new_branch(widths: list[int]) -> nn.ModuleList:
    """Every branch but the last as it is; the last is made from the one before it."""
    kept = [nn.Identity() for _ in widths[:-1]]
    return nn.ModuleList([*kept, nn.Sequential(conv_norm(widths[-2], widths[-1], 3, stride=2))])
