"""MDNet's sample generators as the specification says them, one box at a time, to compare distributions with."""

import numpy as np
from scipy import stats

from jaxtrack.online.samplers import PYTORCH

SIZE = np.array([240, 320], np.int32)  # height, width
BOX = np.array([140.0, 90.0, 40.0, 60.0], np.float32)
COUNT = 3000


def clipped(centre_x, centre_y, w, h, limits=PYTORCH, size=SIZE, box=BOX):
    """One box at the end of every generator, in plain Python."""
    height, width = (float(side) for side in size)
    least_w, least_h = (min(limits.least_side_px, float(side)) for side in box[2:])
    w = min(max(w, least_w), width - limits.slack_px)
    h = min(max(h, least_h), height - limits.slack_px)
    free_x, free_y = (w / 2, h / 2) if limits.keep == "box" else (0, 0)
    centre_x = min(max(centre_x, free_x), width - free_x)
    centre_y = min(max(centre_y, free_y), height - free_y)
    box = [centre_x - w / 2, centre_y - h / 2, w, h]
    return [float(np.floor(side + 0.5)) for side in box] if limits.rounded else box


def loop(kind, translation=0.0, scale=1.0, aspect=1.0, limits=PYTORCH, box=BOX, count=COUNT, per_axis=False, size=SIZE):
    """Boxes as the specification says them, one at a time."""
    rng = np.random.default_rng(1)
    x, y, w, h = (float(side) for side in box)
    mean_side = (w + h) / 2
    if limits.rounded:
        mean_side = np.floor(mean_side + 0.5)
    found = []
    for _ in range(count):
        if kind == "gaussian":
            dx, dy, ds = (min(1, max(-1, 0.5 * rng.standard_normal())) for _ in range(3))
        else:
            dx, dy, ds = rng.uniform(-1, 1, 3)
        new_w, new_h = w * aspect ** rng.uniform(-1, 1), h * aspect ** rng.uniform(-1, 1)
        step_x, step_y = (w, h) if per_axis else (mean_side, mean_side)
        if kind == "regression":
            grown = 1.05 ** (10 * rng.uniform(0, 1))
            new_w, new_h = (side * 1.05 ** (4 * rng.uniform(0, 1) - 2) * grown for side in (w, h))
            step_x, step_y, translation, scale = w, h, 0.3, 1.0
        centre = x + w / 2 + translation * step_x * dx, y + h / 2 + translation * step_y * dy
        found.append(clipped(*centre, new_w * scale**ds, new_h * scale**ds, limits, size, box))
    return np.array(found)


def assert_same_distribution(found, expected):
    """Every coordinate's distribution, and the second moments, which tell what is drawn together."""
    assert found.shape == expected.shape
    for k in range(4):
        assert stats.ks_2samp(found[:, k], expected[:, k]).pvalue > 1e-3, k
    deviation, root = expected.std(axis=0), np.sqrt(len(expected))
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=6 * deviation.max() / root)
    correlations = [np.corrcoef(sample, rowvar=False) for sample in (found, expected)]
    np.testing.assert_allclose(*correlations, atol=6 / root)
