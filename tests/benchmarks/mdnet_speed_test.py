"""The benchmark of MDNet's speed: PyTorch's steps are the same as ours, and what the tables say of them."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import mdnet_speed
import numpy as np
import pytest
from mdnet_speed import MDNET

from jaxtrack import images
from jaxtrack.models import mdnet as models
from jaxtrack.models.vgg_m import MDNetHead
from jaxtrack.tracker import Tracker
from jaxtrack.trackers import mdnet

ARCHITECTURE = models.ARCHITECTURES["mdnet_vggm"]
BOXES = np.asarray([[20, 15, 30, 40], [-10, -5, 30, 20], [80, 50, 40, 30]], np.float32)


def smooth():
    """An image whose neighbours differ little, so that a position that is half a pixel off would show."""
    y, x = np.mgrid[:70, :110]
    waves = [120 + 60 * np.sin(x / a) + 50 * np.cos(y / b) for a, b in ((11, 9), (17, 14), (8, 13))]
    return np.round(np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.fixture(scope="module")
def steps():
    torch = pytest.importorskip("torch")
    import torch_mdnet

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other where the machine is busy
    yield torch_mdnet
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cut():
    return np.asarray(jax.jit(lambda boxes: models.crops(ARCHITECTURE, images.make_frame(smooth()), boxes))(BOXES))


@pytest.mark.parametrize("layout", mdnet_speed.LAYOUTS)
def test_pytorchs_crops_are_ours(steps, cut, layout):
    torch = steps.torch
    found = steps.crops(torch.from_numpy(smooth()), torch.from_numpy(BOXES), steps.LAYOUTS[layout])
    assert found.is_contiguous(memory_format=steps.LAYOUTS[layout])
    found = found.numpy().transpose(0, 2, 3, 1)
    # Beyond the image PyTorch fades to grey within a pixel, we end at its border.
    assert np.abs(found - cut)[0].max() < 0.05
    assert np.median(np.abs(found - cut), axis=(1, 2, 3)).max() < 0.05


def test_pytorchs_network_is_ours(steps, cut):
    torch = steps.torch
    network, head = steps.backbone().eval(), steps.head().eval()
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    linear = [layer for layer in head if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        maps = network(torch.from_numpy(cut.transpose(0, 3, 1, 2).copy()))
        rows = torch.rand(3, 4608)
        scores = head(rows).numpy()

    def of(layer, axes):
        return {"kernel": layer.weight.detach().numpy().transpose(axes), "bias": layer.bias.detach().numpy()}

    backbone = {f"conv{i}": of(layer, (2, 3, 1, 0)) for i, layer in enumerate(convolutions, 1)}
    ours = jax.jit(ARCHITECTURE.backbone.apply)({"params": backbone}, cut)
    np.testing.assert_allclose(ours, maps.numpy().transpose(0, 2, 3, 1), atol=1e-4 * float(maps.max()))
    layers = {name: of(layer, (1, 0)) for name, layer in zip(("fc4", "fc5", "fc6"), linear, strict=True)}
    layers["fc6"] = {name: leaf[None] for name, leaf in layers["fc6"].items()}
    np.testing.assert_allclose(MDNetHead().apply({"params": layers}, rows.numpy()), scores, atol=1e-4)


def test_pytorchs_update_is_mdnets(steps, monkeypatch):
    torch, learning = steps.torch, MDNET.framework.mining
    sizes = (steps.POSITIVES, steps.NEGATIVES, steps.CANDIDATES, steps.ITERATIONS)
    assert sizes == (learning.positives, learning.negatives, learning.candidates, learning.iterations)
    monkeypatch.setattr(steps, "CANDIDATES", 128)
    monkeypatch.setattr(steps, "ITERATIONS", 4)
    torch.manual_seed(0)
    head = steps.head()
    groups = steps.optimiser(head).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([3e-4, 6e-4, 3e-4, 6e-4, 3e-3, 6e-3])
    assert [group["weight_decay"] for group in groups] == [5e-4, 0] * 3
    assert {group["momentum"] for group in groups} == {0.9}
    positives, negatives = torch.rand(40, 4608) + 0.5, torch.rand(60, 4608)
    before = [parameter.clone() for parameter in head.parameters()]
    first, last = (float(steps.update(head, positives, negatives)) for _ in range(2))
    assert last < first
    assert all((old != new).any() for old, new in zip(before, head.parameters(), strict=True))
    assert not head.training


def test_the_parts_are_those_of_the_other_library(steps):
    given = {**mdnet_speed.job(), "candidates": BOXES[:2], "samples": BOXES, "positives": 8, "negatives": 9}
    names = steps.parts(given, steps.LAYOUTS["NCHW"]).keys()
    assert names == mdnet_speed.gflop(given).keys()


def test_the_work_is_that_of_the_layers():
    """Of a crop 2 (51^2 147 96 + 11^2 2400 256 + 9 2304 512) operations, as the chain of sizes has it."""
    work = mdnet_speed.gflop(mdnet_speed.job())
    crop = 2 * (51**2 * 147 * 96 + 11**2 * 2400 * 256 + 9 * 2304 * 512)
    assert work["features"] == pytest.approx(256 * crop / 1e9)
    assert work["samples"] == pytest.approx(250 * crop / 1e9)
    fc4, rest = 4608 * 512, 512 * 512 + 512 * 2
    assert work["scores"] == pytest.approx(256 * 2 * (fc4 + rest) / 1e9)
    iteration = 2 * (1024 * (fc4 + rest) + 128 * (2 * fc4 + 3 * rest))
    assert work["update"] == pytest.approx(10 * iteration / 1e9)


def test_memories_are_full():
    """500 positives and 50 of each of 100 frames, 200 negatives of each of 20."""
    given = mdnet_speed.job()
    assert (given["positives"], given["negatives"]) == (5500, 4000)
    assert (given["candidates"].shape, given["samples"].shape) == ((256, 4), (250, 4))


def test_a_frame_has_a_tenth_of_an_update():
    assert mdnet_speed.whole_frame({"crops": 1.0, "features": 2.0, "update": 5.0}, 10) == pytest.approx(3.5)


def test_the_better_layout_counts_part_by_part_and_the_first_round_does_not(monkeypatch):
    monkeypatch.setattr(mdnet_speed, "_SETTLE_SECONDS", 0.0)
    turns = iter([9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    monkeypatch.setattr(mdnet_speed, "timed", lambda call: next(turns))
    asked = []

    def ask(layout, part):
        asked.append((layout, part))
        first = len(asked) <= 4
        return 99.0 if first else {"NCHW": {"a": 1, "b": 4}, "channels last": {"a": 2, "b": 3}}[layout][part]

    ours, theirs = mdnet_speed.alternating({"a": None, "b": None}, ask, 3)
    assert ours == {"a": 3.0, "b": 4.0}
    assert theirs == {"a": (1, "NCHW"), "b": (3, "channels last")}
    assert asked[:4] == [(layout, part) for part in "ab" for layout in mdnet_speed.LAYOUTS]


def test_without_pytorch_only_our_times_are_there(monkeypatch, capsys):
    monkeypatch.setattr(mdnet_speed, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(mdnet_speed, "timed", lambda call: 1.0)
    monkeypatch.setattr(mdnet_speed.importlib.util, "find_spec", lambda name: None)
    with mdnet_speed.torch_process({}, True) as ask:
        assert ask is None
    assert "not installed" in capsys.readouterr().out
    assert mdnet_speed.alternating({"a": None}, ask, 1) == ({"a": 1.0}, {})


def test_a_program_without_updates_differs_in_nothing_else():
    same = mdnet_speed.never(MDNET)
    assert same.framework.mining.iterations == 0
    mining = dataclasses.replace(same.framework.mining, iterations=10)
    assert dataclasses.replace(same, framework=dataclasses.replace(same.framework, mining=mining)) == MDNET


def test_a_state_holds_the_samples_and_bfloat16_halves_them():
    """5,050 positives of later frames, 500 of the first and 4,200 negatives: a block more than counts of each."""
    full, half = (mdnet_speed.state_of(mdnet, config) for config in (MDNET, mdnet_speed.half(MDNET)))
    sizes = [mdnet_speed.megabytes((state.positives, state.negatives)) for state in (full, half)]
    rows = 5050 + 500 + 4200
    assert sizes[0] == pytest.approx(rows * 4608 * 4 / 1e6, rel=2e-3)
    assert sizes[1] == pytest.approx(rows * 4608 * 2 / 1e6, rel=4e-3)
    # The head and its momentum, fc4 to fc6, and box regression from as many numbers.
    head = 4608 * 512 + 512 + 512 * 512 + 512 + 512 * 2 + 2
    assert mdnet_speed.megabytes(full) - sizes[0] == pytest.approx((2 * head + 4 * 4608) * 4 / 1e6, rel=0.02)


def test_an_update_is_due_where_it_is_asked_for(monkeypatch):
    """The number of the frame decides, and scores that say target whatever is seen."""

    @flax.struct.dataclass
    class State:
        head: dict
        frame: jax.Array

    def init(params, frame, box, key):
        del params, frame, box, key
        bias = jnp.zeros((1, 2))
        return State({"fc5": {"bias": bias}, "fc6": {"kernel": bias, "bias": bias}}, jnp.ones((), jnp.int32))

    def step(params, state, frame):
        del params, frame
        shown = (state.frame, state.head["fc6"]["bias"], state.head["fc5"]["bias"])
        jax.debug.callback(lambda *values: seen.append([np.asarray(value).tolist() for value in values]), *shown)
        return state.replace(frame=state.frame + 1), None

    seen = []
    monkeypatch.setattr(mdnet_speed.mdnet, "tracker", lambda config: Tracker(init, step))
    monkeypatch.setattr(mdnet_speed.mdnet, "init_params", lambda config, key: {})
    timer = mdnet_speed.frames_of(MDNET, 1)
    assert timer(1) > 0
    timer(10)
    jax.effects_barrier()
    assert seen == [[1, [[0, 1e6]], [[0, 0]]], [10, [[0, 1e6]], [[0, 0]]]]
    mdnet_speed.frames_of(MDNET, 2)(10)
    jax.effects_barrier()
    assert [frame for frame, *_ in seen[2:]] == [10, 10]
