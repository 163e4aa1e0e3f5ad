"""The ZF network of Faster R-CNN, conv1 to conv5: RPN2T's teacher, and its student for crops of half the side.

The student has the teacher's parameters, name for name and shape for shape: without the two poolings the network
would be finer by 4, of which a larger stride of conv1 or conv2 takes back 2, and crops of half the side the rest.
"""

from typing import Literal

import chex
import flax.linen as nn
import jax

from jaxtrack.models import lrn
from jaxtrack.models.layers import Conv
from jaxtrack.models.pooling import ceil_max_pool

TEACHER_PX = 203
STUDENT_PX = 107
# What is subtracted from images of the py-faster-rcnn weights, in 0..255; they were trained on BGR.
MEAN_RGB = (122.7717, 115.9465, 102.9801)

_KERNELS = (7, 5, 3, 3, 3)
_NORMALISED = 2  # The first two; in the teacher they are pooled, too.
_HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")

Version = Literal["teacher", "student_a", "student_b"]
# Of conv1 and conv2, all others have stride 1.
_STRIDES: dict[str, tuple[int, int]] = {"teacher": (2, 2), "student_a": (2, 4), "student_b": (4, 2)}


class ZF(nn.Module):
    """The backbone. The teacher makes 14 x 14 cells of 203 pixels and 8 x 8 of 107, a student 14 x 14 of 107.

    Attributes:
      widths: channels of the five convolutions; the published ones unless it is trained from nothing.
      version: "teacher" as published; "student_a" strides in conv2, which then sees cells as far apart as the
        teacher's; "student_b" strides in conv1 and is a little faster.
    """

    widths: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    version: Version = "teacher"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The map of conv5 after ReLU, `[B, 14, 14, widths[4]]`.

        Args:
          x: `float32 [B, 203, 203, 3]`, or 107 for a student: RGB in 0..255 minus `MEAN_RGB`, or minus the mean of
            the weights in use. Other sizes give other maps, the teacher's of about a sixteenth of the side.
        """
        chex.assert_shape(x, (None, None, None, 3))
        strides = (*_STRIDES[self.version], 1, 1, 1)
        for i, (width, kernel, stride) in enumerate(zip(self.widths, _KERNELS, strides, strict=True), 1):
            zeros = nn.initializers.zeros
            conv = Conv(width, kernel, stride, kernel // 2, kernel_init=_HE, bias_init=zeros, name=f"conv{i}")
            x = nn.relu(conv(x))
            if i <= _NORMALISED:
                x = lrn.within_channel(x)
                x = ceil_max_pool(x, 3, 2, 1) if self.version == "teacher" else x
        return x
