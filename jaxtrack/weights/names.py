"""PyTorch's names and layouts of the Siamese networks' tensors, and those of ours.

Our variables are a tree of modules; a tensor's place in it, "backbone/layer2/block_0/conv1/conv/kernel", is rewritten
into PyTorch's name, "backbone.layer2.0.conv1.weight", by a table of substitutions for the class of each part of the
network. A new architecture made of known parts needs no entry here, a new part needs a table.

Layouts: a convolution's `[out, in, h, w]` becomes `[h, w, in, out]` (also a depth-wise one), a matrix `[out, in]`
becomes `[in, out]`, all else is unchanged. Attention is another matter: see `attention`.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxtrack.errors import UserError
from jaxtrack.models import siamese
from jaxtrack.models.alexnet import AlexNet
from jaxtrack.models.mobilenet_v2 import MobileNetV2
from jaxtrack.models.mobilenet_v3 import MobileNetV3
from jaxtrack.models.nano_heads import NanoHeadV1, NanoHeadV2, NanoHeadV3
from jaxtrack.models.necks import AdjustLayers
from jaxtrack.models.resnet import ResNet
from jaxtrack.models.siamese import PUBLISHED, Architecture
from jaxtrack.models.siamese_heads import BANHead, PWHead, RPNHead
from jaxtrack.models.transt import Projection, TransTHead, TruncatedResNet
from jaxtrack.weights import attention, online

# Of converted files in a cache: one more whenever a table, a layout or a module's name changes.
MAPPING_VERSION = 1

# Pattern and replacement, applied in order to the whole path inside a part.
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def _pair(pattern: str, start: str, conv: int, norm: int | None = None) -> Rules:
    """Rules for a `ConvNorm` whose two layers are entries of a PyTorch Sequential."""
    norm = conv + 1 if norm is None else norm
    return ((rf"{pattern}/conv/", rf"{start}/{conv}/"), (rf"{pattern}/norm/", rf"{start}/{norm}/"))


def _indexed(pattern: str, start: str, step: int, offset: int) -> tuple[str, Callable[[re.Match[str]], str]]:
    """A rule for the i-th block of a flat Sequential, i the pattern's last group: entry `step` i + `offset`."""
    return pattern, lambda match: f"{match.expand(start)}/{step * int(match[match.lastindex or 0]) + offset}/"


_RESNET: Rules = (
    (r"^stem/conv/", "conv1/"),
    (r"^stem/norm/", "bn1/"),
    (r"/block_(\d+)/", r"/\1/"),
    *_pair("/shortcut", "/downsample", 0),
    (r"/conv(\d)/conv/", r"/conv\1/"),
    (r"/conv(\d)/norm/", r"/bn\1/"),
)

_ALEXNET: Rules = tuple(
    rule
    for layer, entry in (("layer1", 0), ("layer2", 4), ("layer3", 8), ("layer4", 11), ("layer5", 14))
    for rule in _pair(layer, "features", entry)
)

_MOBILENET_V2: Rules = (
    *_pair("^layer0", "layer0", 0),
    (r"/block_(\d+)/", r"/\1/"),
    *_pair("/expand", "/conv", 0),
    *_pair("/depthwise", "/conv", 3),
    *_pair("/project", "/conv", 6),
)

# The first block has no expansion, so that its entries are 3 lower.
_MOBILENET_V3: Rules = (
    *_pair("^stem", "features/0", 0),
    *_pair("^block_1/depthwise", "features/1/conv", 0),
    (r"^block_1/squeeze/", "features/1/conv/3/"),
    *_pair("^block_1/project", "features/1/conv", 4),
    *_pair(r"^block_(\d+)/expand", r"features/\1/conv", 0),
    *_pair(r"^block_(\d+)/depthwise", r"features/\1/conv", 3),
    (r"^block_(\d+)/squeeze/", r"features/\1/conv/5/"),
    *_pair(r"^block_(\d+)/project", r"features/\1/conv", 7),
    (r"/fc1/", "/fc/0/"),
    (r"/fc2/", "/fc/2/"),
)

_ADJUST: Rules = (
    *_pair("^level_only", "downsample/downsample", 0),
    *_pair(r"^level_(\d)", r"downsample\1/downsample", 0),
)

_DEPTHWISE_BRANCHES: Rules = (
    *_pair("/conv_kernel", "/conv_kernel", 0),
    *_pair("/conv_search", "/conv_search", 0),
    *_pair("/hidden", "/head", 0),
    (r"/output/", "/head/3/"),
)
_RPN: Rules = ((r"^level_only/", ""), (r"^level_", "rpn"), *_DEPTHWISE_BRANCHES)
_BAN: Rules = ((r"^level_", "box"), *_DEPTHWISE_BRANCHES)
_PW: Rules = (
    (r"^level_(\d)/", r"box\1/head/"),
    *_pair("/mix", "/fi", 0),
    _indexed(r"/(\w+_tower)_(\d)/conv/", r"/\1", 3, 0),
    _indexed(r"/(\w+_tower)_(\d)/norm/", r"/\1", 3, 1),
)

_PATHS: Rules = (
    *_pair(r"/(conv_kernel|conv_search)", r"/\1", 0),
    (r"/attention/", "/CA_layer/"),
)
_NANO_OUTPUTS: Rules = ((r"^(cls_logits|cls_pred|bbox_pred)/", r"\1/0/"),)
_SEPARABLE_TOWERS: Rules = (
    _indexed(r"^(\w+_tower)_(\d)/depthwise/", r"\1", 4, 0),
    _indexed(r"^(\w+_tower)_(\d)/pointwise/conv/", r"\1", 4, 1),
    _indexed(r"^(\w+_tower)_(\d)/pointwise/norm/", r"\1", 4, 2),
)
_NANO_V1: Rules = ((r"^attention/", "corr_pw/CA_layer/"), *_SEPARABLE_TOWERS, *_NANO_OUTPUTS)
_NANO_V2: Rules = (
    (r"^corr_(cls|reg)/", r"corr_pw_\1/"),
    *_PATHS,
    (r"^(cls|bbox)_tower_", r"\1_pw_tower_"),
    *_SEPARABLE_TOWERS,
    (r"^cls_logits/", "cls_pred/"),
    *_NANO_OUTPUTS,
)
_NANO_V3: Rules = (
    (r"^(cls|reg)/pixelwise/", r"corr_pw_\1/"),
    (r"^(cls|reg)/depthwise/", r"corr_dw_\1/"),
    (r"^(cls|reg)/down/", r"down_\1/0/"),
    (r"^cls/tower_", "cls_tower_"),
    (r"^reg/tower_", "bbox_tower_"),
    *_PATHS,
    *_pair("/reduce", "/conv", 0),
    *_pair(r"^(corr_pw_\w+)/pointwise", r"\1/conv", 3),
    _indexed(r"^(\w+_tower)_(\d)/depthwise/conv/", r"\1", 5, 0),
    _indexed(r"^(\w+_tower)_(\d)/depthwise/norm/", r"\1", 5, 1),
    _indexed(r"^(\w+_tower)_(\d)/pointwise/conv/", r"\1", 5, 3),
    _indexed(r"^(\w+_tower)_(\d)/pointwise/norm/", r"\1", 5, 4),
    *_NANO_OUTPUTS,
)

_FUSION = "featurefusion_network/"
# PyTorch counts the two branches, 1 the template's and 2 the search region's, and in each its three normalisations.
_FUSION_BRANCHES = (("template", 1), ("search", 2))
_TRANST: Rules = (
    (r"^layer_(\d)/", _FUSION + r"encoder/layers/\1/"),
    *(
        (pattern.format(branch), replacement.format(number))
        for branch, number in _FUSION_BRANCHES
        for pattern, replacement in (
            ("/eca_{}/attend/attention/", "/self_attn{}/"),
            ("/eca_{}/attend/norm/", "/norm{}1/"),
            ("/cfa_{}/attend/attention/", "/multihead_attn{}/"),
            ("/cfa_{}/attend/norm/", "/norm{}2/"),
            ("/cfa_{}/expand/", "/linear{}1/"),
            ("/cfa_{}/reduce/", "/linear{}2/"),
            ("/cfa_{}/norm/", "/norm{}3/"),
        )
    ),
    (r"^norm/", _FUSION + "decoder/norm/"),
    (r"^decoder/attend/attention/", "decoder/multihead_attn/"),
    (r"^decoder/attend/norm/", "decoder/norm1/"),
    (r"^decoder/norm/", "decoder/norm2/"),
    (r"^decoder/expand/", "decoder/linear1/"),
    (r"^decoder/reduce/", "decoder/linear2/"),
    (r"^decoder/", _FUSION + "decoder/layers/0/"),
    (r"^cls/layer_(\d)/", r"class_embed/layers/\1/"),
    (r"^box/layer_(\d)/", r"bbox_embed/layers/\1/"),
)

# The part's name in PyTorch, if it has one, and its rules.
_PARTS: dict[type, tuple[str, Rules]] = {
    ResNet: ("backbone", _RESNET),
    AlexNet: ("backbone", _ALEXNET),
    MobileNetV2: ("backbone", _MOBILENET_V2),
    MobileNetV3: ("backbone", _MOBILENET_V3),
    AdjustLayers: ("neck", _ADJUST),
    RPNHead: ("rpn_head", _RPN),
    BANHead: ("head", _BAN),
    PWHead: ("head", _PW),
    NanoHeadV1: ("ban_head", _NANO_V1),
    NanoHeadV2: ("ban_head", _NANO_V2),
    NanoHeadV3: ("ban_head", _NANO_V3),
    TruncatedResNet: ("backbone/0/body", _RESNET),
    Projection: ("input_proj", ((r"^conv/", ""),)),
    TransTHead: ("", _TRANST),
}

_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}

# Axes of ours in PyTorch's order and back, by rank; other ranks are unchanged.
_TO_TORCH = {2: (1, 0), 4: (3, 2, 0, 1)}
_FROM_TORCH = {2: (1, 0), 4: (2, 3, 1, 0)}

# Names that a file of the architecture has; the first row that fits wins.
_SIGNATURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("nanotrack_v1", ("ban_head.corr_pw.CA_layer.fc1.weight",)),
    ("nanotrack_v2", ("ban_head.cls_pw_tower.0.weight",)),
    ("nanotrack_v3", ("ban_head.corr_dw_cls.conv_kernel.0.weight",)),
    ("siampw_r50", ("head.box2.head.fi.0.weight",)),
    ("siamban_r50", ("head.loc_scale", "head.box4.cls.conv_kernel.0.weight")),
    ("siamrpn_mobilenetv2", ("backbone.layer7.0.conv.0.weight", "rpn_head.rpn4.cls.conv_kernel.0.weight")),
    ("siamrpn_alex", ("backbone.features.14.weight", "rpn_head.cls.conv_kernel.0.weight")),
    ("siamrpn_r50_lt", ("rpn_head.cls_weight", "backbone.layer4.0.downsample.0.weight")),
    ("siamrpn_r50_lt_unweighted", ("rpn_head.rpn4.cls.conv_kernel.0.weight", "backbone.layer4.0.downsample.0.weight")),
    ("siamrpn_r50", ("rpn_head.cls_weight", "backbone.layer4.0.downsample.0.weight")),
    ("siamrpn_r50_unweighted", ("rpn_head.rpn4.cls.conv_kernel.0.weight", "backbone.layer4.0.downsample.0.weight")),
    ("transt", ("input_proj.weight", "featurefusion_network.encoder.layers.3.norm23.weight")),
    ("transt_n2", ("input_proj.weight", "featurefusion_network.encoder.layers.1.norm23.weight")),
    (online.PY_MDNET, online.PY_MDNET_NAMES),
    ("resnet50", ("conv1.weight", "layer1.0.downsample.0.weight", "layer4.2.conv3.weight")),
    (online.ALEXNET, online.ALEXNET_NAMES),
    (online.TORCHVISION_VGG16, online.TORCHVISION_VGG16_NAMES),
)
# Networks that differ in their widths only are told apart by the shape of a tensor.
_LONG_TERM = {"neck.downsample2.downsample.0.weight": (128, 512, 1, 1)}
_SHAPES = {"siamrpn_r50_lt": _LONG_TERM, "siamrpn_r50_lt_unweighted": _LONG_TERM}

_SHOWN = 10


def torch_names(architecture: str | Architecture) -> dict[str, tuple[int, ...]]:
    """PyTorch's name and shape of every tensor that an architecture has (without the counters of batches)."""
    shapes = {key: _torch_shape(path, leaf.shape) for key, path, leaf in _leaves(_architecture(architecture))}
    return attention.packed_shapes(shapes)


def detect(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The architecture, or torchvision's backbone, that these names and shapes of tensors look like; None if no one."""
    present = {_strip(key): shape for key, shape in shapes.items()}
    for name, needed in _SIGNATURES:
        if present.keys() >= set(needed) and present.items() >= _SHAPES.get(name, {}).items():
            return name
    return None


def to_flax(
    state: Mapping[str, np.ndarray], architecture: str | Architecture, *, only: str | None = None
) -> dict[str, Any]:
    """The variables of a network from PyTorch's.

    Args:
      state: arrays by PyTorch's names; counters of batches and a leading "module." are ignored, as is NanoTrack's
        neck, which its network never uses.
      architecture: a name among `PUBLISHED`, or one that is not in the table.
      only: the part of the network (`backbone`, `neck` or `head`) that the state holds; by default all of it.

    Returns:
      `{"params", "batch_stats"}`, float32.

    Raises:
      UserError: tensors are missing, left over, of another shape or not finite.
    """
    network = _architecture(architecture)
    state = _relevant(state, network)
    leaves = [(key, path, leaf) for key, path, leaf in _leaves(network) if only in (None, path[1])]
    expected = attention.packed_shapes({key: _torch_shape(path, leaf.shape) for key, path, leaf in leaves})
    whole = architecture if isinstance(architecture, str) else "the architecture"
    _check(state, expected, whole if only is None else f"the {only} of {whole}")
    state = attention.unpacked(state)
    variables: dict[str, Any] = {}
    for key, path, leaf in leaves:
        *parents, name = path
        node = variables
        for parent in parents:
            node = node.setdefault(parent, {})
        array = np.asarray(state[key], np.float32)
        array = array.transpose(_FROM_TORCH.get(array.ndim, range(array.ndim)))
        if attention.is_part(path):
            array = array.reshape(leaf.shape)
        assert array.shape == leaf.shape
        node[name] = np.ascontiguousarray(array)
    return variables


def _architecture(architecture: str | Architecture) -> Architecture:
    if isinstance(architecture, Architecture):
        return architecture
    if architecture not in PUBLISHED:
        raise UserError(f"no architecture is named {architecture!r}; there are {', '.join(PUBLISHED)}")
    return PUBLISHED[architecture]


def _leaves(architecture: Architecture) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """PyTorch's name, our path (collection first) and the shape of every tensor."""
    parts = {"backbone": architecture.backbone, "neck": architecture.neck, "head": architecture.head}
    for path, leaf in _flat(_shapes(architecture)):
        _, part, *inner, name = path
        prefix, rules = _PARTS[type(parts[part])]
        place = "/".join([*inner, ""])
        for pattern, replacement in rules:
            place = re.sub(pattern, replacement, place)
        key = f"{prefix}/{place}{_LEAVES.get(name, name)}".removeprefix("/")
        yield key.replace("/", "."), path, leaf


@functools.cache
def _shapes(architecture: Architecture) -> dict[str, Any]:
    return siamese.shapes(architecture)


def _flat(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in tree.items():
        if isinstance(child, Mapping):
            yield from _flat(child, (*path, name))
        else:
            yield (*path, name), child


def _torch_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if attention.is_part(path):
        shape = attention.joined(path, shape)
    return tuple(shape[axis] for axis in _TO_TORCH.get(len(shape), range(len(shape))))


def _strip(key: str) -> str:
    return key.removeprefix("module.")


def _relevant(state: Mapping[str, np.ndarray], architecture: Architecture) -> dict[str, np.ndarray]:
    """The state without what has no counterpart by design."""
    prefix, _ = _PARTS[type(architecture.head)]
    unused_neck = prefix == "ban_head"
    stripped = {_strip(key): value for key, value in state.items()}
    return {
        key: value
        for key, value in stripped.items()
        if not key.endswith(".num_batches_tracked") and not (unused_neck and key.startswith("neck."))
    }


def _check(state: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Raises `UserError` with all that is wrong."""
    shared = [key for key in expected if key in state]
    misshaped = [key for key in shared if np.shape(state[key]) != expected[key]]
    faults = {
        "missing": [key for key in expected if key not in state],
        "not part of it": [key for key in state if key not in expected],
        "of another shape": [f"{key} {np.shape(state[key])}, expected {expected[key]}" for key in misshaped],
        "not finite": [key for key in shared if not np.isfinite(state[key]).all()],
    }
    sentences = [f"{len(keys)} {fault} ({_list(keys)})" for fault, keys in faults.items() if keys]
    if sentences:
        raise UserError(f"the weights do not fit {name}; tensors {'; '.join(sentences)}")


def _list(keys: list[str]) -> str:
    more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
