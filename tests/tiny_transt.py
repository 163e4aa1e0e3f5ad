"""The smallest TransT, 3 x 3 tokens of the template and 7 x 7 of the search region, and pairs for it."""

import dataclasses
from typing import ClassVar

import tiny_training

from jaxtrack.models.siamese import Architecture
from jaxtrack.models.small_resnet import SmallResNet
from jaxtrack.models.transt import Projection, TransTHead

ARCHITECTURE = Architecture(
    SmallResNet((4, 4, 8), ((), (), ())),
    Projection(8),
    TransTHead(1, 2, 8, 0.0),
    "tokens",
    template_px=32,
    search_px=64,
    score_cells=7,
    exact_centre=True,
)
STAGES = ("stage1", "stage2", "stage3")


@dataclasses.dataclass(frozen=True)
class Squares(tiny_training.Squares):
    """The bright squares, every fourth pixel of them."""

    sides_px: ClassVar[tuple[int, int]] = (32, 64)

    def pairs(self, items):
        large = tiny_training.Squares.pairs(self, items)
        template, search = (image[:, ::4, ::4] for image in (large.template, large.search))
        return large.replace(template=template, search=search, box_xyxy=large.box_xyxy / 4)
