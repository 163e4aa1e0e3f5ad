"""Files are written by SciPy's own writer, as MATLAB saves cells and structs."""

import contextlib
import random

import numpy as np
import pytest
import scipy.io

from jaxtrack.errors import UserError
from jaxtrack.weights import matconvnet


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


KERNEL, BIAS, LAST, LAST_BIAS = normal(3, 2, 4, 5), normal(5), normal(2, 2, 5, 1), normal(1)
PARAM = [[5.0, 2.0, 1e-4, 0.75]]


def cell(*items):
    """A cell of one row."""
    out = np.empty((1, len(items)), object)
    out[0] = items
    return out


def struct(*records):
    """An array of structs, of one row."""
    out = np.empty((1, len(records)), [(name, object) for name in records[0]])
    for i, record in enumerate(records):
        out[0, i] = tuple(record.values())
    return out


def simple(**first):
    """SimpleNN's layers, those of the published files in small."""
    conv1 = {"type": "conv", "name": "conv1", "stride": [[2.0, 3.0]], "pad": [[0.0, 1.0, 0.0, 1.0]]}
    conv1 |= first or {"weights": cell(KERNEL, BIAS[:, None])}
    relu = {"type": "relu", "name": "relu1"}
    norm = {"type": "normalize", "name": "norm1", "param": PARAM}
    pool = {"type": "pool", "name": "pool1", "pool": [[3.0, 3.0]], "stride": 2.0, "pad": 0.0, "method": "max"}
    fc = {"type": "conv", "name": "fc6", "weights": cell(LAST, LAST_BIAS), "stride": 1.0, "pad": 0.0}
    return cell(conv1, relu, norm, pool, fc, {"type": "softmax"})


def dag():
    """The same network as a DagNN."""
    conv = {"size": [[3.0, 2.0, 4.0, 5.0]], "hasBias": True, "stride": [[2.0, 3.0]], "pad": [[0.0, 1.0, 0.0, 1.0]]}
    fc = conv | {"stride": [[1.0, 1.0]], "pad": [[0.0, 0.0, 0.0, 0.0]]}
    pool = {"method": "max", "poolSize": [[3.0, 3.0]], "stride": [[2.0, 2.0]], "pad": [[0.0] * 4]}
    plan = [
        ("conv1", "dagnn.Conv", cell("first_filter", "first_bias"), conv),
        ("relu1", "dagnn.ReLU", cell(), {"leak": 0.0}),
        ("norm1", "dagnn.LRN", cell(), {"param": PARAM}),
        ("pool1", "dagnn.Pooling", cell(), pool),
        ("fc6", "dagnn.Conv", cell("fc6b", "unused", "fc6f")[:, [2, 0]], fc),
        ("prob", "dagnn.SoftMax", cell(), {}),
    ]
    layers = [
        {"name": name, "type": kind, "inputs": cell("x"), "outputs": cell("y"), "params": params, "block": block}
        for name, kind, params, block in plan
    ]
    arrays = {"fc6b": LAST_BIAS, "fc6f": LAST, "first_bias": BIAS, "first_filter": KERNEL}
    params = [{"name": name, "value": value, "learningRate": 1.0} for name, value in arrays.items()]
    return {"layers": struct(*layers), "params": struct(*params), "vars": struct({"name": "x", "precious": False})}


def check(layers):
    assert [layer.kind for layer in layers] == ["conv", "relu", "lrn", "pool", "conv", "softmax"]
    conv, _, norm, pool, fc, _ = layers
    assert [layer.name for layer in layers[:5]] == ["conv1", "relu1", "norm1", "pool1", "fc6"]
    for layer, arrays in ((conv, (KERNEL, BIAS)), (fc, (LAST, LAST_BIAS))):
        for actual, expected in zip(layer.arrays, arrays, strict=True):
            np.testing.assert_array_equal(actual, expected, strict=True)
    assert (conv.stride, conv.padding) == ((2, 3), (0, 1, 0, 1))
    assert (pool.stride, pool.padding) == ((2, 2), (0, 0, 0, 0))
    assert norm.lrn == (5, 2, 1e-4, 0.75)


@pytest.fixture
def save(tmp_path):
    def saved(content, **options):
        path = tmp_path / "net.mat"
        scipy.io.savemat(path, content, **options)
        return path

    return saved


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("inside", [False, True], ids=["layers", "net"])
def test_a_simple_network(save, inside, compressed):
    content = {"layers": simple(), "meta": {"classes": 3}}
    check(matconvnet.read(save({"net": content} if inside else content, do_compression=compressed)))


def test_arrays_in_fields_of_their_own_as_old_files_have_them(save):
    check(matconvnet.read(save({"layers": simple(filters=KERNEL, biases=BIAS[None])})))


def test_numbers_of_other_types_become_float32(save):
    weights = cell(KERNEL.astype(np.float64), BIAS.astype(np.float64)[None])
    check(matconvnet.read(save({"layers": simple(weights=weights)})))


def test_a_dag_is_the_same_network(save):
    check(matconvnet.read(save({"net": dag()})))
    check(matconvnet.read(save(dag())))


def test_axes_of_length_one_that_matlab_dropped_are_put_back(save):
    path = save({"layers": cell({"type": "conv", "name": "c", "weights": cell(normal(3, 2), LAST_BIAS)})})
    kernel, bias = matconvnet.convolutions(matconvnet.read(path))["c"]
    np.testing.assert_array_equal(kernel, normal(3, 2)[:, :, None, None], strict=True)
    assert bias.shape == (1,)


def test_settings_that_are_missing_are_matconvnets_but_for_the_stride(save):
    layers = cell({"type": "conv", "weights": cell(KERNEL, np.zeros((0, 0)))}, {"type": "lrn", "name": "n"})
    conv, norm = matconvnet.read(save({"layers": layers}))
    assert (conv.name, conv.stride, conv.padding) == ("", (), (0, 0, 0, 0))
    np.testing.assert_array_equal(conv.arrays[1], np.zeros(5, np.float32), strict=True)
    assert norm.lrn == (5, 1, 2e-5, 0.75)


def test_convolutions_by_name(save):
    layers = matconvnet.read(save({"layers": simple()}))
    found = matconvnet.convolutions(layers)
    assert list(found) == ["conv1", "fc6"]
    np.testing.assert_array_equal(found["conv1"][0], KERNEL)
    with pytest.raises(UserError, match=r"^the network has two convolutions conv1$"):
        matconvnet.convolutions((layers[0], layers[0]))
    with pytest.raises(UserError, match="the network has a convolution without a name"):
        matconvnet.convolutions((matconvnet.Layer("", "conv", (KERNEL, BIAS)),))


# --- what is no network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 3}, "holds no network of MatConvNet: it has neither layers nor a net with layers"),
        ({"net": {"a": 3}}, "it has neither layers nor a net"),
        ({"net": "layers"}, "it has neither layers nor a net"),
        ({"layers": cell()}, "without any convolution"),
        ({"layers": "conv"}, "it has neither layers nor a net"),
        ({"layers": cell(3.0)}, "one of its layers is no struct"),
        ({"layers": simple(weights=cell())}, "the convolution conv1 has no kernel"),
        ({"layers": simple(weights=cell("text", BIAS))}, "the convolution conv1 has no kernel"),
        ({"layers": simple(weights=cell(normal(1, 1, 2, 2, 2), BIAS))}, "the convolution conv1 has no kernel"),
        ({"layers": simple(weights=cell(KERNEL, BIAS[1:]))}, r"conv1 has a kernel of \[3, 2, 4, 5\] and 4 biases"),
        ({"layers": simple(weights=cell(KERNEL, BIAS), stride=[[1.0, 1, 1]])}, "has a stride of 3 .* 4 numbers"),
        ({"layers": simple(weights=cell(KERNEL, BIAS), stride=np.inf)}, "a setting of a layer is not finite"),
        ({"net": dag() | {"params": 3}}, "the layer conv1 needs first_filter, first_bias, which is not among its"),
    ],
)
def test_what_is_no_network(save, content, message):
    with pytest.raises(UserError, match=message):
        matconvnet.read(save(content))


def test_bytes_changed_at_random_give_layers_or_a_sentence(save):
    path = save({"net": dag()})
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            matconvnet.read(path)
