"""torchvision's networks, trained on ImageNet: AlexNet, VGG-16, and ResNet-50 for the Siamese trackers.

TransT's backbone is torchvision's own as far as layer3 (`plain`). The dilated one of the others differs in three ways,
of which the first two can be undone in the weights:

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
from jaxtrack.models.transt import MEAN_RGB, STD_RGB
from jaxtrack.models.vgg import layer_names
from jaxtrack.weights import names, online

NAME = "resnet50"  # of the backbone, in records and on the command line
_DILATED = BACKBONES[NAME]  # whose names and shapes are asked for
PLAIN = "resnet50_plain"
_PLAIN_PREFIX, _BEYOND = "backbone.0.body.", ("layer4.", "fc.")
_PREFIX = "backbone."
_SHORTCUTS = tuple(f"backbone.layer{i}.0.downsample.0.weight" for i in (2, 3, 4))
_NAMES_IN_A_MESSAGE = 3
_ALEXNET_LAYERS = {"conv1": 0, "conv2": 3, "conv3": 6}  # of `features`
_VGG16_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of `features`: its convolutions


def to_flax(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The part `backbone` of a network's variables, `{"params", "batch_stats"}`, from torchvision's ResNet-50.

    Raises:
      UserError: as `backbone_state`, or a number is not finite.
    """
    return names.to_flax(backbone_state(state), _DILATED, only="backbone")


def plain(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The part `backbone` of TransT's variables, `{"params", "batch_stats"}`, from torchvision's ResNet-50.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not finite.
    """
    kept = {f"{_PLAIN_PREFIX}{name}": array for name, array in state.items() if not name.startswith(_BEYOND)}
    return names.to_flax(kept, BACKBONES[PLAIN], only="backbone")


def vgg16(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The backbone of VGG-16, for RGB in 0..255 minus `jaxtrack.models.backbones.IMAGENET_MEAN_RGB`.

    torchvision's reads RGB as (v / 255 - mean) / std. The scale goes into the first kernel; the mean cannot go into its
    bias, because the zeros of the padding stand for the mean colour.

    Raises:
      UserError: a tensor is missing, of another shape or not finite.
    """
    layers = dict(zip(layer_names(16), _VGG16_LAYERS, strict=True))
    return _classifier(state, online.TORCHVISION_VGG16, layers, "VGG-16")


def alexnet(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The backbone of AlexNet, conv1 to conv3, for the same images as `vgg16`'s.

    Raises:
      UserError: a tensor is missing, of another shape or not finite.
    """
    return _classifier(state, online.ALEXNET, _ALEXNET_LAYERS, "AlexNet")


def _classifier(
    state: Mapping[str, np.ndarray], architecture: str, layers: Mapping[str, int], title: str
) -> dict[str, Any]:
    """The convolutions of a network without batch normalisation; `layers`: our names, places in `features`."""
    found = {}
    for ours, place in layers.items():
        wanted = (f"features.{place}.weight", f"features.{place}.bias")
        missing = [name for name in wanted if name not in state]
        if missing:
            raise UserError(f"this is not torchvision's {title}: it lacks {', '.join(missing)}")
        kernel, bias = (np.asarray(state[name], np.float32) for name in wanted)
        found[ours] = (kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel, bias)
    first = next(iter(layers))
    kernel, bias = found[first]
    if kernel.shape[2:3] == (3,):
        found[first] = (kernel / (255 * np.asarray(STD_RGB, np.float32))[:, None], bias)
    return online.checked(architecture, {"backbone": found}, online.shapes(architecture)["params"])


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
