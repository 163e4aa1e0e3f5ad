"""torchvision's ResNet-50, trained on ImageNet, as a start for the dilated ResNet-50 of the Siamese trackers.

The two networks differ in three ways, of which the first two can be undone in the weights:

* torchvision's shortcuts are 1 x 1, those of the dilated layer2 to layer4 are 3 x 3: the 1 x 1 kernel is put into the
  centre tap. The dilated main path looks at windows with the same centre, so that both still meet cell for cell.
* torchvision takes RGB as (v / 255 - mean) / std, the trackers take BGR as v in 0..255: scale and order go into the
  stem's kernel, the means into the running mean of the normalisation behind it. The trackers' stem has no padding, so
  this is exact everywhere.
* torchvision pads its stem and strides in layer3 and layer4: the dilated network sees the same values in another grid.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.models.siamese import BACKBONES
from jaxtrack.weights import names

MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)
NAME = "resnet50"  # of the backbone, in records and on the command line
_DILATED = BACKBONES[NAME]  # whose names and shapes are asked for
_PREFIX = "backbone."
_SHORTCUTS = tuple(f"backbone.layer{i}.0.downsample.0.weight" for i in (2, 3, 4))
_NAMES_IN_A_MESSAGE = 3


def to_flax(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The part `backbone` of a network's variables, `{"params", "batch_stats"}`, from torchvision's ResNet-50.

    Raises:
      UserError: as `backbone_state`, or a number is not finite.
    """
    return names.to_flax(backbone_state(state), _DILATED, only="backbone")


def backbone_state(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors `backbone.*` of the dilated ResNet-50, in PyTorch's spelling, from torchvision's ResNet-50.

    Args:
      state: torchvision's names and arrays; the classifier `fc` and `num_batches_tracked` are left out.

    Returns:
      265 float32 arrays: 53 kernels `[out, in, h, w]` and 53 normalisations of four `[out]` each.

    Raises:
      UserError: a tensor is missing, of another shape, or none of ResNet-50.
    """
    expected = {name: shape for name, shape in names.torch_names(_DILATED).items() if name.startswith(_PREFIX)}
    backbone = {
        f"{_PREFIX}{name}": np.asarray(array)
        for name, array in state.items()
        if not name.startswith("fc.") and not name.endswith(".num_batches_tracked")
    }
    _check(backbone, expected)
    for name in _SHORTCUTS:
        backbone[name] = _centred(backbone[name])
    kernel, offset = _folded(backbone["backbone.conv1.weight"])
    backbone["backbone.conv1.weight"] = kernel
    backbone["backbone.bn1.running_mean"] = backbone["backbone.bn1.running_mean"] + offset
    return {name: backbone[name].astype(np.float32) for name in expected}


def _check(backbone: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> None:
    for what, differing in (("lacks", expected.keys() - backbone.keys()), ("has", backbone.keys() - expected.keys())):
        if differing:
            shown = ", ".join(name.removeprefix(_PREFIX) for name in sorted(differing)[:_NAMES_IN_A_MESSAGE])
            more = f" and {len(differing) - _NAMES_IN_A_MESSAGE} more" if len(differing) > _NAMES_IN_A_MESSAGE else ""
            raise UserError(f"this is not torchvision's ResNet-50: it {what} {shown}{more}")
    for name, shape in expected.items():
        needed = (*shape[:2], 1, 1) if name in _SHORTCUTS else shape
        if backbone[name].shape != needed:
            raise UserError(
                f"this is not torchvision's ResNet-50: {name.removeprefix(_PREFIX)} has the shape "
                f"{list(backbone[name].shape)}, expected {list(needed)}"
            )


def _centred(kernel: np.ndarray) -> np.ndarray:
    """A 1 x 1 kernel `[O, I, 1, 1]` as a 3 x 3 one that is zero around its centre."""
    return np.pad(kernel, ((0, 0), (0, 0), (1, 1), (1, 1)))


def _folded(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The stem's kernel `[O, 3, h, w]` for BGR in 0..255, and by how much its output `[O]` is now too high.

    With x = (v / 255 - mean) / std: sum k x = sum k / (255 std) v - sum k mean / std. What is subtracted at the end
    is left to the normalisation: its running mean rises by it.
    """
    mean, std = (np.array(numbers)[:, None, None] for numbers in (MEAN_RGB, STD_RGB))  # [3, 1, 1]
    kernel = kernel.astype(np.float64)
    scaled = kernel / (255.0 * std)
    return scaled[:, ::-1], (kernel * mean / std).sum(axis=(1, 2, 3))
