"""The AlexNet of the light SiamRPN++: five convolutions without padding, total stride 8, no neck."""

from collections.abc import Collection

import flax.linen as nn
import jax

from jaxtrack.models.layers import ConvNorm, max_pool

# Kernel and stride of the convolutions; the first two are pooled.
_KERNELS = (11, 5, 3, 3, 3)
_STRIDES = (2, 1, 1, 1, 1)
_POOLED = 2


class AlexNet(nn.Module):
    """The backbone; 127 pixels give 6 x 6 cells, 287 give 26 x 26.

    Attributes:
      widths: channels of the five convolutions.
    """

    widths: tuple[int, ...] = (96, 256, 384, 384, 256)

    @nn.compact
    def __call__(self, x: jax.Array, *, train: Collection[str] = ()) -> tuple[jax.Array, ...]:
        """The last convolution's map, normalised, without ReLU.

        Args:
          x: `float32 [B, H, W, 3]`, BGR in 0..255.
          train: names among "layer1" to "layer5" of the parts that normalise by the statistics of the batch.
        """
        for i, (width, kernel, stride) in enumerate(zip(self.widths, _KERNELS, _STRIDES, strict=True)):
            name = f"layer{i + 1}"
            x = ConvNorm(width, kernel, stride, use_bias=True, name=name)(x, train=name in train)
            if i < _POOLED:
                x = max_pool(x, 3, 2)
            if i + 1 < len(self.widths):
                x = nn.relu(x)
        return (x,)
