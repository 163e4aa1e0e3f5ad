"""A clip and small numbers for tests of MDNet and its relatives."""

import numpy as np

from jaxtrack.online.framework import Framework, Memory, Regression, Sampling, Search
from jaxtrack.online.mining import Mining

BOX = np.array([60.0, 40.0, 30.0, 36.0], np.float32)
SIZE = (120, 160)  # height, width


class MovingSquare(list):
    """A textured rectangle that moves over a textured background of another kind."""

    name = "square"

    def __init__(self, length, size=SIZE):
        rng = np.random.default_rng(0)
        background = rng.integers(60, 130, (*size, 3), np.uint8)
        target = np.repeat(np.repeat(rng.integers(0, 255, (6, 5, 3), np.uint8), 6, axis=0), 6, axis=1)
        for i in range(length):
            image = background.copy()
            image[40 + 2 * i : 76 + 2 * i, 60 + 3 * i : 90 + 3 * i] = target
            self.append(image)

    @property
    def truth(self):
        return np.array([[60 + 3 * i, 40 + 2 * i, 30, 36] for i in range(len(self))], np.float32)


def small(*, mining: Mining | None = None, **memory) -> Framework:
    """MDNet's constants with few samples and little memory."""
    return Framework(
        search=Search(candidates=48),
        sampling=Sampling(first_positives=24, first_negatives=80, positives=6, negatives=16),
        mining=mining or LEARNING,
        memory=Memory(**{"positive_frames": 5, "negative_frames": 3, "short_frames": 3, "interval": 4, **memory}),
        regression=Regression(samples=20),
    )


LEARNING = Mining(
    positives=12, negatives=24, candidates=48, first_iterations=200, first_rate=4e-3, iterations=4, rate=4e-3
)
