"""SiamRPN++'s search network in PyTorch, random weights, BatchNorm folded: what `siamese_parts.py --torch` times."""

import torch  # type: ignore[import-not-found]
from torch import nn  # type: ignore[import-not-found]
from torch.nn import functional  # type: ignore[import-not-found]


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut."""

    def __init__(self, inputs: int, middle: int, stride: int = 1, dilation: int = 1, shortcut: nn.Module | None = None):
        super().__init__()
        self.reduce = nn.Conv2d(inputs, middle, 1)
        self.middle = nn.Conv2d(middle, middle, 3, stride, 0 if stride == 2 else dilation, dilation)
        self.expand = nn.Conv2d(middle, 4 * middle, 1)
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps to maps."""
        y = functional.relu(self.middle(functional.relu(self.reduce(x))))
        return functional.relu(self.expand(y) + self.shortcut(x))


def stage(middle: int, blocks: int, dilation: int, first: Bottleneck) -> nn.Sequential:
    """A first block and `blocks - 1` more."""
    return nn.Sequential(first, *(Bottleneck(4 * middle, middle, 1, dilation) for _ in range(blocks - 1)))


class Branch(nn.Module):
    """A depth-wise branch of the head, with a template's kernels that stay the same."""

    def __init__(self, outputs: int):
        super().__init__()
        self.search = nn.Conv2d(256, 256, 3)
        self.hidden, self.output = nn.Conv2d(256, 256, 1), nn.Conv2d(256, outputs, 1)
        self.register_buffer("kernels", torch.randn(256, 1, 5, 5) / 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A level's maps to the branch's output."""
        x = functional.conv2d(functional.relu(self.search(x)), self.kernels, groups=256)  # type: ignore[arg-type]
        return self.output(functional.relu(self.hidden(x)))


class SearchNetwork(nn.Module):
    """Dilated ResNet-50, neck and head, from a search region `[1, 3, 255, 255]` to class and box maps."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2)
        self.layer1 = stage(64, 3, 1, Bottleneck(64, 64, shortcut=nn.Conv2d(64, 256, 1)))
        self.layer2 = stage(128, 4, 1, Bottleneck(256, 128, 2, 1, nn.Conv2d(256, 512, 3, 2)))
        self.layer3 = stage(256, 6, 2, Bottleneck(512, 256, 1, 1, nn.Conv2d(512, 1024, 3, 1, 1)))
        self.layer4 = stage(512, 3, 4, Bottleneck(1024, 512, 1, 2, nn.Conv2d(1024, 2048, 3, 1, 2, 2)))
        self.neck = nn.ModuleList(nn.Conv2d(channels, 256, 1) for channels in (512, 1024, 2048))
        self.cls = nn.ModuleList(Branch(10) for _ in range(3))
        self.loc = nn.ModuleList(Branch(20) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class and box maps, the mean over the levels."""
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, 1)
        second = self.layer2(self.layer1(x))
        third = self.layer3(second)
        levels = [neck(maps) for neck, maps in zip(self.neck, (second, third, self.layer4(third)), strict=True)]
        cls = torch.stack([branch(maps) for branch, maps in zip(self.cls, levels, strict=True)]).mean(0)
        loc = torch.stack([branch(maps) for branch, maps in zip(self.loc, levels, strict=True)]).mean(0)
        return cls, loc
