"""Heads on conv5 of ZF: RPN2T's two scores of every cell, the region proposal network's own, and RPN2T's anchors.

A cell's anchor is a square of 171 x 171 pixels in a crop of 203 x 203, as large as the target there and as what the
head's 3 x 3 convolution sees. The map has no central cell: as in the paper, the anchors of the central 2 x 2 cells are
said to lie on the target exactly, and those of a cell beyond them 16 pixels farther off than its inner neighbour's.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from jaxtrack.models.layers import Conv

WIDTH = 256  # Channels of the 3 x 3 convolution.
ANCHORS = 9  # Of the region proposal network, in each cell.
CELLS = 14
ANCHOR_PX = 171
STRIDE_PX = 16
# New layers of both heads, as in Faster R-CNN.
_NEW: dict[str, Any] = {"kernel_init": nn.initializers.normal(0.01), "bias_init": nn.initializers.zeros}


class AnchorHead(nn.Module):
    """RPN2T's head: a 3 x 3 convolution, ReLU, then two 1 x 1 convolutions side by side, one for each of its losses.

    The 3 x 3 convolution, `conv`, has the same name and shape as `ProposalHead`'s, whose weights it starts from.

    Attributes:
      width: its channels.
      dropout: share of its outputs that is dropped in training.
    """

    width: int = WIDTH
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Scores of background and target in each cell, before any softmax.

        Args:
          x: `float32 [B, h, w, C]`, conv5 after ReLU.
          train: drop; asks for the random key "dropout" (`rngs={"dropout": key}`).

        Returns:
          `[B, h, w, 2]` twice: of the cells whose anchors match the target (the paper's a_i), and of all cells (q_i).
        """
        x = nn.relu(Conv(self.width, 3, 1, 1, looped=True, name="conv", **_NEW)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        masked, everywhere = (Conv(2, looped=True, name=name, **_NEW)(x) for name in ("masked_scores", "all_scores"))
        return masked, everywhere


class ProposalHead(nn.Module):
    """The head of Faster R-CNN's region proposal network.

    Attributes:
      width: channels of its 3 x 3 convolution.
    """

    width: int = WIDTH

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Scores and box offsets of every anchor.

        Args:
          x: `float32 [B, h, w, C]`, conv5 after ReLU.

        Returns:
          `[B, h, w, 2, 9]`, background first, before any softmax; and `[B, h, w, 9, 4]`.
        """
        x = nn.relu(Conv(self.width, 3, 1, 1, name="conv", **_NEW)(x))
        scores = Conv(2 * ANCHORS, name="scores", **_NEW)(x)
        deltas = Conv(4 * ANCHORS, name="deltas", **_NEW)(x)
        return scores.reshape(*x.shape[:3], 2, ANCHORS), deltas.reshape(*x.shape[:3], ANCHORS, 4)


def anchor_overlaps(cells: int = CELLS, anchor_px: float = ANCHOR_PX) -> np.ndarray:
    """The IoU of each cell's anchor with a centred target of the anchor's size, `float64 [cells, cells]`.

    Args:
      cells: side of the map, even.
      anchor_px: side of an anchor where cells lie 16 pixels apart.
    """
    cell = np.arange(cells)
    offset = STRIDE_PX * np.maximum(0, np.maximum(cells // 2 - 1 - cell, cell - cells // 2))
    shared = np.maximum(0, anchor_px - offset)
    intersection = np.multiply.outer(shared, shared)
    return intersection / (2 * anchor_px**2 - intersection)


def anchor_mask(threshold: float = 0.7, cells: int = CELLS, anchor_px: float = ANCHOR_PX) -> np.ndarray:
    """The cells whose anchors overlap a centred target by at least `threshold`, `bool [S, S]`; 12 of 14 x 14 at 0.7."""
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of an IoU must lie above 0 and be at most 1, not {threshold:g}")
    return anchor_overlaps(cells, anchor_px) >= threshold
