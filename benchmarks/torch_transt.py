"""TransT's search network in PyTorch, random weights, BatchNorm folded: what `transt_parts.py --torch` times."""

import torch  # type: ignore[import-not-found]
from torch import nn  # type: ignore[import-not-found]
from torch.nn import functional  # type: ignore[import-not-found]

WIDTH, HEADS, HIDDEN = 256, 8, 2048


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut, all of it padded."""

    def __init__(self, inputs: int, middle: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.reduce = nn.Conv2d(inputs, middle, 1)
        self.middle = nn.Conv2d(middle, middle, 3, stride, dilation, dilation)
        self.expand = nn.Conv2d(middle, 4 * middle, 1)
        same = inputs == 4 * middle
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, 4 * middle, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps to maps."""
        y = functional.relu(self.middle(functional.relu(self.reduce(x))))
        return functional.relu(self.expand(y) + self.shortcut(x))


def stage(inputs: int, middle: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A layer of the ResNet; only its first block strides or is dilated."""
    rest = (Bottleneck(4 * middle, middle) for _ in range(blocks - 1))
    return nn.Sequential(Bottleneck(inputs, middle, stride, dilation), *rest)


class EgoContext(nn.Module):
    """Attention of tokens among themselves."""

    def __init__(self):
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Tokens to tokens."""
        placed = x + places
        return self.norm(x + self.attention(placed, placed, x, need_weights=False)[0])


class CrossFeature(nn.Module):
    """Attention of tokens to others, and two dense layers."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.dense = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, x: torch.Tensor, places: torch.Tensor, y: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Tokens `x` that ask tokens `y`."""
        x = self.first(x + self.attention(x + places, y + others, y, need_weights=False)[0])
        return self.second(x + self.dense(x))


class SearchNetwork(nn.Module):
    """Backbone, fusion and heads, from a search region `[1, 3, 256, 256]` to logits and boxes; the template is kept."""

    def __init__(self, layers: int = 4):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, 3)
        self.stages = nn.Sequential(stage(64, 64, 3), stage(256, 128, 4, 2), stage(512, 256, 6, 1, 2))
        self.projection = nn.Conv2d(1024, WIDTH, 1)
        self.eca = nn.ModuleList(nn.ModuleList(EgoContext() for _ in range(2)) for _ in range(layers))
        self.cfa = nn.ModuleList(nn.ModuleList(CrossFeature() for _ in range(2)) for _ in range(layers))
        self.decoder, self.norm = CrossFeature(), nn.LayerNorm(WIDTH)
        self.cls, self.box = (self._mlp(outputs) for outputs in (2, 4))
        self.register_buffer("template", torch.randn(1, 256, WIDTH))
        self.register_buffer("z_places", torch.randn(1, 256, WIDTH))
        self.register_buffer("x_places", torch.randn(1, 1024, WIDTH))

    @staticmethod
    def _mlp(outputs: int) -> nn.Sequential:
        hidden = (nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `[1, 1024, 2]` and boxes `[1, 1024, 4]`."""
        maps = functional.max_pool2d(functional.relu(self.stem(image / 255)), 3, 2, 1)
        x = self.projection(self.stages(maps)).flatten(2).transpose(1, 2)
        z, z_places, x_places = self.template, self.z_places, self.x_places
        for (eca_z, eca_x), (cfa_z, cfa_x) in zip(self.eca, self.cfa, strict=True):  # type: ignore[misc]
            z, x = eca_z(z, z_places), eca_x(x, x_places)
            z, x = cfa_z(z, z_places, x, x_places), cfa_x(x, x_places, z, z_places)
        x = self.norm(self.decoder(x, x_places, z, z_places))
        return self.cls(x), self.box(x).sigmoid()
