"""Siamese networks for tests: published ones with made-up weights (siamese.md, 13.1), and narrow ones."""

import dataclasses
import functools
import zlib

import numpy as np

from jaxtrack.models.alexnet import AlexNet
from jaxtrack.models.mobilenet_v2 import MobileNetV2
from jaxtrack.models.mobilenet_v3 import MobileNetV3
from jaxtrack.models.nano_heads import NanoHeadV1, NanoHeadV2, NanoHeadV3
from jaxtrack.models.resnet import ResNet
from jaxtrack.models.siamese import ARCHITECTURES, Architecture
from jaxtrack.models.siamese_heads import BANHead, PWHead, RPNHead
from jaxtrack.models.transt import MEAN_RGB, STD_RGB, TransTHead, TruncatedResNet
from jaxtrack.weights import names

_NARROW = {
    ResNet: {"width": 4, "blocks": (1, 2, 2, 2)},
    AlexNet: {"widths": (8, 8, 8, 8, 8)},
    MobileNetV2: {"width": 0.25},
    MobileNetV3: {"width": 0.5},
    BANHead: {"features": 16},
    PWHead: {"features": 16, "groups": 4},
    TruncatedResNet: {"width": 4, "blocks": (1, 2, 2)},
    TransTHead: {"layers": 2, "heads": 4, "hidden": 24},
    NanoHeadV1: {"cls_features": 16, "loc_features": 8},
    NanoHeadV2: {"path_features": 8, "features": 16, "blocks": 2},
    NanoHeadV3: {"path_features": 8, "features": 16, "blocks": 2},
}


def narrow(name: str) -> Architecture:
    """A published architecture with a few channels and blocks."""
    full = ARCHITECTURES[name]
    head = {"features": _width(full.head)} if isinstance(full.head, RPNHead) else _NARROW[type(full.head)]
    return dataclasses.replace(
        full,
        backbone=full.backbone.clone(**_NARROW[type(full.backbone)]),
        neck=full.neck and full.neck.clone(features=_width(full.neck)),
        head=full.head.clone(**head),
    )


def _width(part):
    """A sixteenth of 256 channels, or of each level's."""
    return tuple(features // 16 for features in part.features) if isinstance(part.features, tuple) else 16


@functools.cache
def _draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    # No number of float32 is far from the float64 that the recipe draws; half the memory.
    return np.random.RandomState(zlib.crc32(key.encode())).standard_normal(size=shape).astype(np.float32)


def _value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    x = _draw(key, shape)
    rules = {"running_mean": 0.1 * x, "running_var": np.exp(0.2 * x), "loc_scale": 1 + 0.1 * x}
    rules |= {"cls_weight": x, "loc_weight": x, "bias": 0.1 * x, "in_proj_bias": 0.1 * x}
    default = x * np.float32(1 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 1 + 0.1 * x
    value = rules.get(key.rsplit(".", 1)[-1], default)
    if key == "backbone.conv1.weight":
        value = value * 0.01
    return value * 0.02 if key.endswith(".head.3.weight") else value


def state(architecture: str | Architecture) -> dict[str, np.ndarray]:
    """A PyTorch state dict by the recipe."""
    return {key: _value(key, shape) for key, shape in names.torch_names(architecture).items()}


def image(seed: int, side: int) -> np.ndarray:
    """Noise `float32 [1, side, side, 3]` in 0..255, drawn as PyTorch's [1, 3, side, side]."""
    noise = np.random.RandomState(seed).randint(0, 256, size=(1, 3, side, side))
    return noise.transpose(0, 2, 3, 1).astype(np.float32)


def normal_image(seed: int, side: int) -> np.ndarray:
    """An image `float32 [1, side, side, 3]` that TransT's backbone scales and centres to standard normal numbers."""
    normal = np.random.RandomState(seed).standard_normal(size=(1, 3, side, side)).transpose(0, 2, 3, 1)
    rgb = 255 * (normal * STD_RGB + MEAN_RGB)
    return rgb[..., ::-1].astype(np.float32)
