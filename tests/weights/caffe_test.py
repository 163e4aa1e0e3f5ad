"""Files are written by protobuf's own runtime, from the field numbers that caffe.proto gives."""

import contextlib
import random
import tracemalloc

import numpy as np
import pytest

from jaxtrack.errors import UserError
from jaxtrack.weights import caffe

pb = pytest.importorskip("google.protobuf.descriptor_pb2", reason="protobuf's runtime writes the files of this test")

# weight_formats_and_rpn.md, A3: message, field, number, type; a * repeats, a ! packs.
SCHEMA = """
NetParameter name 1 string
NetParameter layers 2 *V1LayerParameter
NetParameter input 3 *string
NetParameter input_dim 4 *int32
NetParameter layer 100 *LayerParameter
LayerParameter name 1 string
LayerParameter type 2 string
LayerParameter bottom 3 *string
LayerParameter top 4 *string
LayerParameter loss_weight 5 *float
LayerParameter blobs 7 *BlobProto
LayerParameter phase 10 int32
V1LayerParameter layer 1 V0LayerParameter
V1LayerParameter bottom 2 *string
V1LayerParameter name 4 string
V1LayerParameter type 5 int32
V1LayerParameter blobs 6 *BlobProto
V1LayerParameter blobs_lr 7 *float
V0LayerParameter name 1 string
V0LayerParameter type 2 string
V0LayerParameter blobs 50 *BlobProto
BlobProto num 1 int32
BlobProto channels 2 int32
BlobProto height 3 int32
BlobProto width 4 int32
BlobProto data 5 *!float
BlobProto diff 6 *!float
BlobProto shape 7 BlobShape
BlobProto double_data 8 *!double
BlobShape dim 1 *!int64
"""


def messages(package, packed=True):
    """Message classes by their names."""
    from google.protobuf import descriptor_pool, message_factory

    field = pb.FieldDescriptorProto
    scalars = {name: getattr(field, f"TYPE_{name.upper()}") for name in ("string", "int32", "int64", "float", "double")}
    file = pb.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    types = {}
    for line in SCHEMA.split("\n")[1:-1]:
        message, name, number, kind = line.split()
        if message not in types:
            types[message] = file.message_type.add(name=message)
        label = field.LABEL_REPEATED if "*" in kind else field.LABEL_OPTIONAL
        added = types[message].field.add(name=name, number=int(number), label=label)
        plain = kind.strip("*!")
        if plain in scalars:
            added.type = scalars[plain]
        else:
            added.type, added.type_name = field.TYPE_MESSAGE, f".{package}.{plain}"
        if "!" in kind:
            added.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in types}


@pytest.fixture(scope="module")
def proto():
    return messages("packed")


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


KERNEL, BIAS, MATRIX = normal(5, 3, 2, 4), normal(5), normal(6, 20)


def fill(blob, array, *, legacy=False, double=False):
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    (blob.double_data if double else blob.data).extend(array.ravel().tolist())


def network(proto, **options):
    """A file of the present version."""
    net = proto["NetParameter"](name="net", input=["data"], input_dim=[1, 3, 8, 8])
    net.layer.add(name="data", type="Input", top=["data"])
    layer = net.layer.add(name="conv", type="Convolution", bottom=["data"], top=["conv"], loss_weight=[0.5], phase=1)
    fill(layer.blobs.add(), KERNEL, **options)
    layer.blobs[0].diff.extend([7.0] * 3)
    fill(layer.blobs.add(), BIAS, **options)
    net.layer.add(name="relu", type="ReLU", bottom=["conv"], top=["conv"])
    fill(net.layer.add(name="fc", type="InnerProduct").blobs.add(), MATRIX, **options)
    return net


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "net.caffemodel"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return path

    return written


def check(layers, names=("conv", "fc")):
    assert list(layers) == list(names)
    conv, fc = (layers[name] for name in names)
    assert (conv.kind, fc.kind) == ("Convolution", "InnerProduct")
    np.testing.assert_array_equal(conv.blobs[0], KERNEL)
    np.testing.assert_array_equal(conv.blobs[1].ravel(), BIAS)
    np.testing.assert_array_equal(fc.blobs[0].reshape(MATRIX.shape), MATRIX)
    assert len(fc.blobs) == 1


def test_a_file_of_the_present_version(proto, write):
    layers = caffe.read(write(network(proto)))
    check(layers)
    assert layers["conv"].blobs[1].shape == (5,)


def test_numbers_in_a_field_each_and_of_double_precision(proto, write):
    check(caffe.read(write(network(messages("unpacked", packed=False)))))
    check(caffe.read(write(network(proto, double=True))))


@contextlib.contextmanager
def memory_below(most):
    """What is done takes fewer bytes of Python's memory, at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


@pytest.mark.parametrize("packed", [True, False])
def test_an_array_takes_hardly_more_memory_than_its_file_however_its_numbers_stand(write, packed):
    message, numbers = messages(f"many_{packed}", packed)["NetParameter"](), normal(100_000)
    fill(message.layer.add(name="many", type="InnerProduct").blobs.add(), numbers)
    path = write(message)
    # The file, and its numbers in a buffer that grows by moving into a larger one.
    with memory_below(4 * path.stat().st_size):
        layers = caffe.read(path)
    np.testing.assert_array_equal(layers["many"].blobs[0], numbers, strict=True)


@pytest.mark.parametrize("packed", [True, False])
def test_a_shape_of_very_many_sides_is_given_up_early(write, packed):
    blob = messages(f"sides_{packed}", packed)["NetParameter"]()
    blob.layer.add(name="x", type="Convolution").blobs.add().shape.dim.extend([1] * 200_000)
    path = write(blob)
    message = r"an array of the shape \[1, .*\] has 0 numbers"
    with memory_below(2 * path.stat().st_size), pytest.raises(UserError, match=message):
        caffe.read(path)


def test_an_old_file(proto, write):
    net = proto["NetParameter"](name="old")
    for name, kind, arrays in (("conv", 4, (KERNEL, BIAS)), ("relu", 18, ()), ("fc", 14, (MATRIX,))):
        layer = net.layers.add(name=name, type=kind, bottom=["data"], blobs_lr=[1.0, 2.0])
        for array in arrays:
            fill(layer.blobs.add(), array, legacy=True)
    layers = caffe.read(write(net))
    check(layers)
    assert layers["conv"].blobs[1].shape == (1, 1, 1, 5)
    np.testing.assert_array_equal(caffe.convolutions(layers)["conv"][1], BIAS, strict=True)


def test_a_file_of_the_oldest_version(proto, write):
    net = proto["NetParameter"](name="oldest")
    for name, kind, arrays in (("conv", "conv", (KERNEL, BIAS)), ("fc", "innerproduct", (MATRIX,))):
        layer = net.layers.add().layer
        layer.name, layer.type = name, kind
        for array in arrays:
            fill(layer.blobs.add(), array, legacy=True)
    check(caffe.read(write(net)))


def test_fields_of_later_versions_and_numbers_in_several_chunks(proto, write):
    # Number 999 of the types varint, 8 bytes, 4 bytes and bytes; a message that is parsed in two parts is their union.
    unknown = b"\xb8\x3e\x07" + b"\xb9\x3e" + bytes(8) + b"\xbd\x3e" + bytes(4) + b"\xba\x3e\x02ab"
    net = network(proto)
    del net.layer[3:]
    second = proto["NetParameter"]()
    layer = second.layer.add(name="fc", type="InnerProduct")
    half = proto["BlobProto"](data=MATRIX.ravel()[:60].tolist()).SerializeToString()
    rest = proto["BlobProto"](data=MATRIX.ravel()[60:].tolist(), shape=proto["BlobShape"](dim=MATRIX.shape))
    blob = half + unknown + rest.SerializeToString()
    content = layer.SerializeToString() + b"\x3a" + varint(len(blob)) + blob + unknown
    content = b"\xa2\x06" + varint(len(content)) + content
    check(caffe.read(write(unknown + net.SerializeToString() + unknown + content)))


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def test_convolutions_come_in_our_layout(proto, write):
    found = caffe.convolutions(caffe.read(write(network(proto))))
    assert list(found) == ["conv"]
    kernel, bias = found["conv"]
    assert kernel.shape == (2, 4, 3, 5)
    assert kernel[1, 3, 2, 4] == KERNEL[4, 2, 1, 3]
    assert kernel.dtype == bias.dtype == np.float32
    assert kernel.flags.owndata
    assert kernel.flags.c_contiguous


def test_a_convolution_without_a_bias_has_a_bias_of_zero():
    found = caffe.convolutions({"conv": caffe.Layer("Convolution", (KERNEL,))})
    np.testing.assert_array_equal(found["conv"][1], np.zeros(5, np.float32), strict=True)


@pytest.mark.parametrize("blobs", [(MATRIX,), (KERNEL, normal(4)), (KERNEL, BIAS, BIAS)])
def test_a_convolution_of_other_shapes_is_refused(blobs):
    with pytest.raises(UserError, match="the convolution conv has arrays of the shapes"):
        caffe.convolutions({"conv": caffe.Layer("Convolution", blobs)})


# --- what is no such file ---------------------------------------------------------------------------------------


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.caffemodel$"):
        caffe.read(tmp_path / "none.caffemodel")
    with pytest.raises(UserError, match="cannot read"):
        caffe.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no layer with weights"),
        (b"<html>404 Not Found</html>", "cut off or damaged, or no .caffemodel file"),
        (b'name: "ZF"\ninput: "data"\nlayer {\n}\n', "cut off or damaged, or no .caffemodel file"),
        (b"\x80" * 20, "a number has no end"),
        (b"\x02\x00", "a field has the number 0"),
        (b"\x0b", "a field is of the type 3"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a field of 9223372036854775807 bytes begins 0 bytes before"),
        (b"\x0a\x05abc", "a field of 5 bytes begins 3 bytes before the end"),
        (b"\xa0\x06\x01", "a number where a message should be"),
        (b"\xa2\x06\x03\x0a\x01\xff", "a name is no text"),
        (b"\xa2\x06\x05\x3a\x03\x2a\x01a", "1 bytes are no array of numbers of 4"),
        (b"\xa2\x06\x05\x3a\x03\x0a\x01a", "bytes where a number should be"),
    ],
)
def test_what_is_no_caffemodel(write, content, message):
    with pytest.raises(UserError, match=message):
        caffe.read(write(content))


@pytest.mark.parametrize("dims", [(5, 3, 2, 3), (2**40, 2**40), (0,), (1,) * 40, ()])
def test_shapes_that_do_not_fit_the_numbers(proto, write, dims):
    net = network(proto)
    net.layer[1].blobs[0].shape.dim[:] = dims
    with pytest.raises(UserError, match=r"an array of the shape \[.*\] has 120 numbers"):
        caffe.read(write(net))


def test_a_negative_side_is_told(proto, write):
    net = network(proto)
    net.layer[1].blobs[0].shape.dim[:] = (-5, -3, 2, 4)
    with pytest.raises(UserError, match=r"an array of the shape \[-5, -3, 2, 4\] has 120 numbers"):
        caffe.read(write(net))


def test_one_name_twice(proto, write):
    net = network(proto)
    net.layer.add().CopyFrom(net.layer[1])
    with pytest.raises(UserError, match="holds two layers 'conv' with weights"):
        caffe.read(write(net))


def test_a_file_cut_off_anywhere_is_refused_or_lacks_its_last_layers(proto, write):
    whole = network(proto).SerializeToString()
    complete = 0
    for length in range(0, len(whole), 7):
        try:
            layers = caffe.read(write(whole[:length]))
        except UserError:
            continue
        complete += 1
        np.testing.assert_array_equal(layers["conv"].blobs[0], KERNEL)
        assert "fc" not in layers
    assert complete < 5  # only where a layer has just ended


def test_bytes_changed_at_random_give_layers_or_a_sentence(proto, write):
    whole = network(proto).SerializeToString()
    draw = random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        try:
            layers = caffe.read(write(bytes(content)))
        except UserError:
            continue
        assert all(array.nbytes <= 2 * len(whole) for layer in layers.values() for array in layer.blobs)
