"""Files of random numbers in the published shapes of networks of trackers that learn online.

They are written by SciPy, PyTorch and protobuf's runtime, where the tests have these.
"""

import collections

import numpy as np
import pytest
import scipy.io

RANDOM = np.random.default_rng(0)

# weight_formats_and_rpn.md, A1 to A3: kernel, channels in and out.
VGG_M = {"conv1": (7, 3, 96), "conv2": (5, 96, 256), "conv3": (3, 256, 512)}
ZF_LAYERS = {"conv1": (7, 3, 96), "conv2": (5, 96, 256), "conv3": (3, 256, 384), "conv4": (3, 384, 384)}
ZF_LAYERS |= {"conv5": (3, 384, 256)}
MATLAB_HEAD = {"fc4": (3, 512, 512), "fc5": (1, 512, 512)}  # of MDNet in MatConvNet; mdnet_family.md, 2.1
RPN_LAYERS = {"rpn_conv/3x3": (3, 256, 256), "rpn_cls_score": (1, 256, 18), "rpn_bbox_pred": (1, 256, 36)}


def hwio(layers):
    """Kernels that keep the size of what passes through them, and biases."""
    out = {}
    for name, (side, inputs, outputs) in layers.items():
        kernel = RANDOM.normal(size=(side, side, inputs, outputs)) * (2 / (side * side * inputs)) ** 0.5
        out[name] = (kernel.astype(np.float32), RANDOM.normal(size=outputs).astype(np.float32))
    return out


def save_mat(path, arrays, param=(5.0, 2.0, 1e-4, 0.75), **strides):
    """Strides are of these convolutions, and of poolings of all other names; without any the file says none."""
    layers = [{"type": "pool", "name": name, "stride": strides[name]} for name in strides.keys() - arrays.keys()]
    for name, (kernel, bias) in arrays.items():
        weights = np.empty((1, 2), object)
        weights[0] = kernel, bias[None]
        stride = {"stride": strides[name]} if name in strides else {}
        layers += [{"type": "conv", "name": name, "weights": weights} | stride]
        layers += [{"type": "relu", "name": f"relu_{name}"}]
        layers += [{"type": "lrn", "name": f"norm_{name}", "param": [list(param)]}]
    cell = np.empty((1, len(layers)), object)
    cell[0] = layers
    scipy.io.savemat(path, {"layers": cell})
    return path


def mdnet_tensors():
    """PyTorch's names and arrays, `[out, in, h, w]` or `[out, in]`, of MDNet without branches."""
    shapes = {"conv1.0": (96, 3, 7, 7), "conv2.0": (256, 96, 5, 5), "conv3.0": (512, 256, 3, 3)}
    shapes |= {"fc4.0": (512, 4608), "fc5.1": (512, 512)}
    tensors = collections.OrderedDict()
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = RANDOM.normal(size=shape).astype(np.float32)
        tensors[f"{name}.bias"] = RANDOM.normal(size=shape[0]).astype(np.float32)
    return tensors


def save_pth(path, tensors):
    """As MDNet's own program saves them."""
    torch = pytest.importorskip("torch", reason="PyTorch writes the file of this test")
    state = collections.OrderedDict((name, torch.tensor(array)) for name, array in tensors.items())
    torch.save({"shared_layers": state}, path)
    return path


def save_caffemodel(path, arrays):
    """Kernels `[h, w, in, out]` and biases as a file of Caffe's present version."""
    net = _messages()["NetParameter"](name="ZF")
    for name, (kernel, bias) in arrays.items():
        layer = net.layer.add(name=name, type="Convolution")
        for array in (kernel.transpose(3, 2, 0, 1), bias):
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.ravel().tolist())
    path.write_bytes(net.SerializeToString())
    return path


# weight_formats_and_rpn.md, A3: message, field, number, type; a * repeats and packs.
_SCHEMA = (
    ("NetParameter", "name", 1, "string"),
    ("NetParameter", "layer", 100, "*LayerParameter"),
    ("LayerParameter", "name", 1, "string"),
    ("LayerParameter", "type", 2, "string"),
    ("LayerParameter", "blobs", 7, "*BlobProto"),
    ("BlobProto", "data", 5, "*float"),
    ("BlobProto", "shape", 7, "BlobShape"),
    ("BlobShape", "dim", 1, "*int64"),
)


def _messages():
    """Message classes of the schema by their names."""
    pb = pytest.importorskip("google.protobuf.descriptor_pb2", reason="protobuf's runtime writes the file of this test")
    from google.protobuf import descriptor_pool, message_factory

    field = pb.FieldDescriptorProto
    file = pb.FileDescriptorProto(name="online.proto", package="online", syntax="proto2")
    types = {}
    for message, name, number, kind in _SCHEMA:
        if message not in types:
            types[message] = file.message_type.add(name=message)
        label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
        added = types[message].field.add(name=name, number=number, label=label)
        plain = kind.removeprefix("*")
        if plain in ("string", "float", "int64"):
            added.type = getattr(field, f"TYPE_{plain.upper()}")
            added.options.packed = plain != "string"
        else:
            added.type, added.type_name = field.TYPE_MESSAGE, f".online.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"online.{name}")) for name in types}
