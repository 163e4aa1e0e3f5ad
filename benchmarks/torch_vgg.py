"""VGG-16 to conv4_3 without its third pooling in PyTorch, random weights: what `tadt_parts.py --torch` times."""

import torch  # type: ignore[import-not-found]
from torch import nn  # type: ignore[import-not-found]

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3))
_POOLED = (1, 2)


class VGG16(nn.Module):
    """The layers, each map after ReLU."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block, (width, count) in enumerate(_BLOCKS, 1):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            if block in _POOLED:
                layers.append(nn.MaxPool2d(2))
        # What is left of block 4 after conv4_1: two convolutions.
        self.first, self.second = nn.Sequential(*layers[:-4]), nn.Sequential(*layers[-4:])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps of conv4_1 and conv4_3, `[1, 512, 45, 45]` of an image `[1, 3, 180, 180]`."""
        first = self.first(x)
        return first, self.second(first)
