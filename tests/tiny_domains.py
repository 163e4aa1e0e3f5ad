"""A multi-domain training small enough for tests: squares of one colour in each video, a network of a few channels."""

import dataclasses

import numpy as np

from jaxtrack.models.mdnet import Architecture
from jaxtrack.models.vgg_m import VGGM, MDNetHead
from jaxtrack.training.domains import videos
from jaxtrack.training.domains.config import FROM_IMAGENET, DomainConfig, Sampling

# 75 pixels are the fewest that give a cell at last.
ARCHITECTURE = Architecture(VGGM((4, 4, 8)), MDNetHead(8), input_px=75)
OPTIMISER = dataclasses.replace(FROM_IMAGENET, warmup_rate=0.02, rate=0.02, last_rate=0.02)


@dataclasses.dataclass(frozen=True)
class Squares:
    """Videos of a square that jumps about on noise."""

    count: int = 3
    frames: int = 6
    seed: int = 0
    height: int = 60

    def __len__(self):
        return self.count

    def videos(self):
        return tuple(self._video(number) for number in range(self.count))

    def _video(self, number):
        random = np.random.default_rng([self.seed, number])
        images = random.integers(0, 80, (self.frames, self.height, 80, 3), np.uint8)
        corners = random.integers(5, 30, (self.frames, 2))
        side = 18 + number
        colour = random.integers(150, 255, 3)
        for image, (x, y) in zip(images, corners, strict=True):
            image[y : y + side, x : x + side] = colour
        boxes = np.concatenate([corners, np.full((self.frames, 2), side)], axis=1).astype(np.float32)
        return videos.Video(f"squares {number}", images, boxes)

    def batches(self, *place):
        return videos.batches(self.videos(), self.seed, *place)


def config(**changes) -> DomainConfig:
    """Twelve steps of four frames of three videos."""
    defaults = {
        "name": "tiny",
        "architecture": "mdnet_tiny",
        "source": Squares(),
        "sampling": Sampling(positives=3, negatives=5),
        "optimiser": OPTIMISER,
        "batch": 4,
        "epochs": 4,
        "steps_per_epoch": 3,
        "checkpoint_steps": 5,
        "validation": None,
    }
    return DomainConfig(**{**defaults, **changes})  # type: ignore[arg-type]
