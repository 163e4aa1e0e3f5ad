"""Published weights of the networks of trackers that learn online, as variables of our modules.

| architecture | module | files |
|---|---|---|
| `vgg_m` | `VGGM`, conv1 to conv3 | MatConvNet's imagenet-vgg-m |
| `mdnet_vggm_py`, `mdnet_vggm` | the same, the former with another normalisation; fc4, fc5 | MDNet's in PyTorch |
| `mdnet_vggm` | the same | MDNet's in MatConvNet |
| `zf_rpn` | `ZF`; `ProposalHead` | Faster R-CNN's with ZF, Caffe |
| `vgg16`, `vgg19` | `VGG`, all convolutions | MatConvNet's imagenet-vgg-verydeep, VGG_ILSVRC in Caffe |
| `alexnet` | `VGGM` with AlexNet's kernels, conv1 to conv3 (`jaxtrack.weights.torchvision`) | torchvision's alexnet |
| `vgg16_torchvision` | `VGG`, all convolutions (`jaxtrack.weights.torchvision`) | torchvision's vgg16 |

Caffe's networks read BGR; the first kernel's channels change places here, so that all of these read RGB. What the files
hold beyond that (classifiers, detection heads) is left out.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.models import backbones, mdnet
from jaxtrack.models.rpn import ProposalHead
from jaxtrack.models.vgg import VGG
from jaxtrack.models.vgg_m import FEATURE_CELLS, VGGM
from jaxtrack.models.zf import TEACHER_PX, ZF
from jaxtrack.weights import caffe, matconvnet

_Convolutions = Mapping[str, tuple[np.ndarray, np.ndarray]]

ALEXNET = "alexnet"
"""The network of torchvision's AlexNet."""

ALEXNET_NAMES = ("features.0.weight", "features.3.weight", "features.6.weight")  # By which its file is told.

TORCHVISION_VGG16 = "vgg16_torchvision"
"""The network of torchvision's VGG-16, which was trained with another normalisation of images than Oxford's."""

# By which its file is told from those of VGG-19 and of both networks with batch normalisation.
TORCHVISION_VGG16_NAMES = ("features.17.weight", "features.19.weight", "features.28.weight")

BACKBONES: dict[str, nn.Module] = {
    "vgg_m": VGGM(),
    "zf_rpn": ZF(),
    "vgg16": VGG(("conv5_3",), 16),
    "vgg19": VGG(("conv5_4",), 19),
    TORCHVISION_VGG16: VGG(("conv5_3",), 16),
    ALEXNET: backbones.BACKBONES["alexnet"].module,
}
"""The backbone of every architecture that is no tracker's, by its name in records of weights."""

PY_MDNET = "mdnet_vggm_py"
"""The network of MDNet's PyTorch files, unless another one of `MDNETS` is asked for: they look the same."""

MDNET = "mdnet_vggm"
"""The network of MDNet's MatConvNet files."""

MDNETS = (PY_MDNET, MDNET)
PY_MDNET_NAMES = ("conv3.0.weight", "fc5.1.weight")  # By which a PyTorch file of MDNet is told.

Content = Sequence[matconvnet.Layer] | Mapping[str, caffe.Layer]
"""What the reader of MatConvNet's or of Caffe's files returns."""

_VGG_M_LRN = (5.0, 2.0, 1e-4, 0.75)
_VGG_M_STRIDES = {"conv1": (2, 2), "conv2": (2, 2), "conv3": (1, 1), "pool": (2, 2)}  # of layers by name, or by kind
_MATLAB_HEAD = {"fc4": (FEATURE_CELLS, FEATURE_CELLS, 512, 512), "fc5": (1, 1, 512, 512)}
# py-faster-rcnn's names of the head's layers; the first one differs between its two ways of training.
_RPN_NAMES = {"conv": ("rpn_conv/3x3", "rpn_conv1"), "scores": ("rpn_cls_score",), "deltas": ("rpn_bbox_pred",)}


@functools.cache
def shapes(architecture: str) -> dict[str, Any]:
    """The shapes of an architecture's variables, `{"params": {"backbone", …}}`; nothing is computed."""
    key = jax.random.key(0)

    def params(module: nn.Module, *shape: int) -> Any:
        return jax.eval_shape(module.init, key, jax.ShapeDtypeStruct(shape, jnp.float32))["params"]

    parts = {"backbone": params(BACKBONES[architecture], 1, TEACHER_PX, TEACHER_PX, 3)}
    if architecture == "zf_rpn":
        parts["head"] = params(ProposalHead(), 1, 14, 14, 256)
    return {"params": parts}


def convert(content: Content) -> tuple[str, dict[str, Any]]:
    """The architecture of a MatConvNet or Caffe file's content, and its variables; `UserError` if none fits it."""
    if isinstance(content, Mapping):
        return _from_caffe(caffe.convolutions(content))
    return _from_matconvnet(content)


def py_mdnet(state: Mapping[str, np.ndarray], architecture: str = PY_MDNET) -> dict[str, Any]:
    """The variables of MDNet from the PyTorch file's tensors.

    Args:
      state: by the file's own names; `shared_layers` of the published file.
      architecture: one of `MDNETS`. Files from before 2019 were trained with VGG-M's own normalisation; the tensors do
        not tell.

    Raises:
      UserError: a tensor is missing, of another shape or not finite.
    """
    expected = mdnet.shapes(mdnet.ARCHITECTURES[architecture])["params"]
    found = {name: np.asarray(array) for name, array in state.items()}
    tensors = {f"conv{i}": f"conv{i}.0" for i in (1, 2, 3)} | {"fc4": "fc4.0", "fc5": "fc5.1"}
    missing = [f"{t}.{part}" for t in tensors.values() for part in ("weight", "bias") if f"{t}.{part}" not in found]
    if missing:
        raise UserError(f"these are no weights of MDNet in PyTorch: {', '.join(missing)} are missing")

    def layer(name: str) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = (found[f"{tensors[name]}.{part}"] for part in ("weight", "bias"))
        if name == "fc4" and weight.shape == (512, 512 * FEATURE_CELLS**2):
            # Its inputs are the map's numbers in the order of channel, row, column; ours row, column, channel.
            weight = weight.reshape(512, 512, FEATURE_CELLS, FEATURE_CELLS).transpose(2, 3, 1, 0).reshape(-1, 512)
            return weight, bias
        return weight.transpose((2, 3, 1, 0) if weight.ndim == 4 else None), bias

    parts = {part: {name: layer(name) for name in layers} for part, layers in expected.items()}
    return checked(architecture, parts, expected)


def _from_matconvnet(layers: Sequence[matconvnet.Layer]) -> tuple[str, dict[str, Any]]:
    found = matconvnet.convolutions(layers)
    architecture = _vgg(found)
    if architecture is None:
        _check_vgg_m(layers)
        if found.keys() >= _MATLAB_HEAD.keys():
            expected = mdnet.shapes(mdnet.ARCHITECTURES[MDNET])["params"]
            return MDNET, checked(MDNET, {"backbone": found, "head": _matlab_head(found)}, expected)
        architecture = "vgg_m"
    return architecture, checked(architecture, {"backbone": found}, shapes(architecture)["params"])


def _check_vgg_m(layers: Sequence[matconvnet.Layer]) -> None:
    """`UserError` where normalisation or strides are not VGG-M's: as far as conv3, VGG-S has kernels of its shapes."""
    for layer in layers:
        if layer.kind == "lrn" and (len(layer.lrn) != 4 or not np.allclose(layer.lrn, _VGG_M_LRN, rtol=1e-3)):
            raise UserError(f"its normalisation has the constants {list(layer.lrn)}, VGG-M's are {list(_VGG_M_LRN)}")
        stride = _VGG_M_STRIDES.get(layer.kind if layer.kind == "pool" else layer.name, ())
        if layer.stride and stride and layer.stride != stride:
            raise UserError(f"its layer {layer.name} has the stride {list(layer.stride)}, VGG-M's is {list(stride)}")


def _matlab_head(found: _Convolutions) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """MDNet's fully connected layers, which MatConvNet has as convolutions of a whole map.

    Their kernels' axes are row, column and channel of the map, the order in which ours flattens it.
    """
    head = {}
    for name, shape in _MATLAB_HEAD.items():
        kernel, bias = found[name]
        if kernel.shape != shape:
            raise UserError(f"this is no {MDNET}: the kernel of {name} is {list(kernel.shape)}, expected {list(shape)}")
        head[name] = (kernel.reshape(-1, shape[-1]), bias)
    return head


def _from_caffe(found: _Convolutions) -> tuple[str, dict[str, Any]]:
    architecture = _vgg(found) or "zf_rpn"
    first = "conv1" if architecture == "zf_rpn" else "conv1_1"
    if first in found:
        kernel, bias = found[first]
        found = {**found, first: (kernel[:, :, ::-1], bias)}
    parts = {"backbone": found}
    if architecture == "zf_rpn":
        present = {ours: [name for name in theirs if name in found] for ours, theirs in _RPN_NAMES.items()}
        parts["head"] = {ours: found[names[0]] for ours, names in present.items() if names}
    return architecture, checked(architecture, parts, shapes(architecture)["params"])


def _vgg(found: _Convolutions) -> str | None:
    """Which of the two deep networks the names of convolutions belong to, if either."""
    if "conv1_1" not in found:
        return None
    return "vgg19" if "conv5_4" in found else "vgg16"


def checked(architecture: str, parts: Mapping[str, _Convolutions], expected: Mapping[str, Any]) -> dict[str, Any]:
    """The variables from kernels and biases by part and layer; `UserError` with the first thing that is wrong."""
    variables: dict[str, Any] = {}
    for part, layers in expected.items():
        variables[part] = {}
        for name, leaves in layers.items():
            if name not in parts[part]:
                raise UserError(f"this is no {architecture}: it has no layer {name} of the {part}")
            arrays = dict(zip(("kernel", "bias"), parts[part][name], strict=True))
            for leaf, array in arrays.items():
                if array.shape != leaves[leaf].shape:
                    shape, wanted = list(array.shape), list(leaves[leaf].shape)
                    raise UserError(f"this is no {architecture}: the {leaf} of {name} is {shape}, expected {wanted}")
                if not np.isfinite(array).all():
                    raise UserError(f"the {leaf} of {name} has numbers that are not finite")
            variables[part][name] = {leaf: np.array(array, np.float32, order="C") for leaf, array in arrays.items()}
    return {"params": variables}
